package wire

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// RFC 4865, RFC 2852, RFC 6710: what no server can be asked for.
func TestWishesThatAreWrong(t *testing.T) {
	for want, w := range map[string]Wishes{
		"":                                 {HoldFor: time.Hour, DeliverBy: DeliverBy{Within: -1}, Priority: -9},
		"DSN.Return is":                    {DSN: DSN{Return: "SOME"}},
		"HoldFor and HoldUntil are both":   {HoldFor: 1, HoldUntil: noon},
		"HoldFor is -1ns":                  {HoldFor: -1},
		"HoldFor is 277777h46m40s":         {HoldFor: 1e9 * time.Second},
		"HoldUntil is in the year 10000":   {HoldUntil: noon.AddDate(8000, 0, 0).AddDate(-26, 0, 0)},
		"DeliverBy has no time":            {DeliverBy: DeliverBy{Trace: true}},
		"DeliverBy.Within is negative":     {DeliverBy: DeliverBy{Within: -time.Second, OrReturn: true}},
		"DeliverBy.Within is 277777h46m40": {DeliverBy: DeliverBy{Within: 1e9 * time.Second}},
		"field Priority is 10":             {Priority: 10},
	} {
		if err := w.Check(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for o, good := range map[RecipientWish]bool{
		{}: true, {Notify: "NEVER", ORCPT: "rfc822;anne@example.com"}: true,
		{Notify: "ALWAYS"}: false, {ORCPT: "anne"}: false,
	} {
		if err := o.Check(); (err == nil) != good {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func TestWhatAServerCannotGrant(t *testing.T) {
	all := Capabilities{
		FutureRelease: true, HoldMax: 60, HoldMaxDate: noon.Add(time.Hour), DeliverBy: true, DeliverByMin: 30,
	}
	late := DeliverBy{Within: time.Minute, OrReturn: true}
	for _, tt := range []struct {
		wishes *Wishes
		caps   Capabilities
		after  time.Duration
		want   string
	}{
		{wishes: nil},
		{wishes: &Wishes{HoldFor: time.Minute}, caps: all},
		{wishes: &Wishes{HoldFor: time.Minute}, want: "the message is to be held, and the server does not offer"},
		{wishes: &Wishes{HoldFor: time.Minute + 1}, caps: all, want: "the message is to be held for 61 seconds"},
		{wishes: &Wishes{HoldUntil: noon.Add(time.Hour)}, caps: all},
		{wishes: &Wishes{HoldUntil: noon.Add(time.Hour + 1)}, caps: all, want: "the message is to be held until"},
		{wishes: &Wishes{HoldUntil: noon}}, // that is over
		{wishes: &Wishes{DeliverBy: late}, caps: all},
		{wishes: &Wishes{DeliverBy: late}, want: "the message is to be returned if it is late"},
		{wishes: &Wishes{DeliverBy: late}, caps: all, after: time.Minute, want: "the time for delivery, 1m0s, is over"},
		{wishes: &Wishes{DeliverBy: late}, caps: all, after: 31 * time.Second,
			want: "the message is to be delivered within 29 seconds"},
		{wishes: &Wishes{DeliverBy: DeliverBy{Within: time.Minute}, Priority: 3}},
	} {
		if tt.wishes != nil {
			tt.wishes.Begun = noon
		}
		err := tt.wishes.CannotGrant(&tt.caps, noon.Add(tt.after))
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.wishes, err, tt.want)
		}
	}
}

func TestParametersAreOfExtensionsThatAreOffered(t *testing.T) {
	w := &Wishes{
		DSN: DSN{Return: "hdrs", EnvelopeID: "x=1"}, Options: []RecipientWish{{Notify: "never"}, {}},
		DeliverBy: DeliverBy{Within: time.Minute, OrReturn: true}, Begun: noon, Priority: -3,
	}
	all := Capabilities{DSN: true, DeliverBy: true, MTPriority: true}
	for _, tt := range []struct {
		wishes  *Wishes
		caps    Capabilities
		after   time.Duration
		want    string
		leftOut string
	}{
		{nil, all, 0, "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\n", "[]"},
		{w, all, time.Second, "MAIL FROM:<> RET=HDRS ENVID=x+3D1 BY=59;R MT-PRIORITY=-3\r\n" +
			"RCPT TO:<b@x> NOTIFY=NEVER ORCPT=rfc822;b@x\r\n", "[]"},
		{w, all, time.Hour, "MAIL FROM:<> RET=HDRS ENVID=x+3D1 BY=1;R MT-PRIORITY=-3\r\n" +
			"RCPT TO:<b@x> NOTIFY=NEVER ORCPT=rfc822;b@x\r\n", "[]"},
		{w, Capabilities{}, 0, "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\n", "[DSN DELIVERBY MT-PRIORITY]"},
	} {
		var p MailParams
		tt.wishes.MailParams(&p, &tt.caps, noon.Add(tt.after))
		line := AppendMail(nil, "", p)
		line = AppendRcpt(line, "b@x", tt.wishes.RcptParams(0, "b@x", &tt.caps))
		if string(line) != tt.want {
			t.Errorf("%q, want %q", line, tt.want)
		}
		if got := fmt.Sprint(tt.wishes.LeftOut(&tt.caps)); got != tt.leftOut {
			t.Errorf("left out: %s, want %s", got, tt.leftOut)
		}
	}
}

func TestRecipientsAreHidden(t *testing.T) {
	w := &Wishes{Options: []RecipientWish{{Notify: "NEVER", ORCPT: "rfc822;anne@example.com"}}}
	w.HideRecipients()
	if w.Options[0] != (RecipientWish{Notify: "NEVER"}) {
		t.Errorf("%+v", w.Options)
	}
	(*Wishes)(nil).HideRecipients()
}
