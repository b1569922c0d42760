package wire

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string // behind the first, which greets
		want  Capabilities
	}{
		{"none", nil, Capabilities{}},
		{"fact 37", []string{"SIZE 33554432", "8BITMIME", "AUTH PLAIN", "HELP"},
			Capabilities{HasSize: true, Size: 33554432, EightBitMIME: true, Auth: []string{"PLAIN"}}},
		{"fact 37, after STARTTLS", []string{"SIZE 33554432", "8BITMIME", "AUTH LOGIN PLAIN", "AUTH PLAIN", "HELP"},
			Capabilities{HasSize: true, Size: 33554432, EightBitMIME: true, Auth: []string{"LOGIN", "PLAIN"}}},
		{"Postfix", []string{"PIPELINING", "SIZE 10240000", "VRFY", "ETRN", "STARTTLS", "ENHANCEDSTATUSCODES",
			"8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"},
			Capabilities{Pipelining: true, HasSize: true, Size: 10240000, StartTLS: true, EightBitMIME: true, DSN: true,
				SMTPUTF8: true, Chunking: true}},
		// RFC 5321 §4.1.1.1: keywords are case-insensitive.
		{"any case", []string{"pipelining", "Size 7", "8BitMime", "StartTls", "dsn", "smtpUTF8", "chunking",
			"auth plain", "limits mailmax=3"},
			Capabilities{Pipelining: true, HasSize: true, Size: 7, StartTLS: true, EightBitMIME: true, DSN: true,
				SMTPUTF8: true, Chunking: true, Auth: []string{"PLAIN"}, MailMax: 3}},
		{"words that begin alike", []string{"PIPELINING2", "XPIPELINING", "SIZES 3", "AUTHPLAIN", "DSNX", "8BITMIMEX"},
			Capabilities{}},
		{"parameters where none belong", []string{"PIPELINING x", "CHUNKING 1 2"},
			Capabilities{Pipelining: true, Chunking: true}},
		{"more spaces than needed", []string{"  SIZE   5 ", "", " ", "AUTH  LOGIN   PLAIN"},
			Capabilities{HasSize: true, Size: 5, Auth: []string{"LOGIN", "PLAIN"}}},

		// RFC 1870 §3: the number is optional, and 0 means no limit.
		{"SIZE without a number", []string{"SIZE"}, Capabilities{HasSize: true}},
		{"SIZE 0", []string{"SIZE 0"}, Capabilities{HasSize: true}},
		{"SIZE of 19 digits", []string{"SIZE 9223372036854775807"},
			Capabilities{HasSize: true, Size: 9223372036854775807}},
		{"SIZE of 20 digits", []string{"SIZE 99999999999999999999"}, Capabilities{HasSize: true}},
		{"SIZE with a sign", []string{"SIZE -5", "SIZE +5"}, Capabilities{HasSize: true}},
		{"SIZE of words", []string{"SIZE big", "SIZE 1k", "SIZE 0x10"}, Capabilities{HasSize: true}},

		{"several AUTH lines", []string{"AUTH PLAIN LOGIN", "AUTH CRAM-MD5 PLAIN", "AUTH"},
			Capabilities{Auth: []string{"PLAIN", "LOGIN", "CRAM-MD5"}}},
		{"AUTH as before RFC 2554, fact 93", []string{"AUTH=LOGIN"}, Capabilities{Auth: []string{"LOGIN"}}},
		{"AUTH both ways", []string{"AUTH LOGIN PLAIN", "AUTH=LOGIN CRAM-MD5"},
			Capabilities{Auth: []string{"LOGIN", "PLAIN", "CRAM-MD5"}}},
		{"AUTH= without a mechanism", []string{"AUTH=", "AUTH= PLAIN"}, Capabilities{Auth: []string{"PLAIN"}}},
		{"mechanisms in any case", []string{"AUTH plain Scram-Sha-256", "auth=Login"},
			Capabilities{Auth: []string{"PLAIN", "SCRAM-SHA-256", "LOGIN"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Join(append([]string{"mx.example.com"}, tt.lines...), "\n")
			if got := ParseCapabilities(text); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseCapabilities(%q) =\n%+v, want\n%+v", text, got, tt.want)
			}
		})
	}
}

// The first line is the server's name and a greeting in its own words.
func TestGreetingIsNoCapability(t *testing.T) {
	for _, text := range []string{"", "PIPELINING", "SIZE 5", "STARTTLS is what we like", "AUTH=PLAIN\n"} {
		if got := ParseCapabilities(text); !reflect.DeepEqual(got, Capabilities{}) {
			t.Errorf("ParseCapabilities(%q) = %+v, want none", text, got)
		}
	}
}

func TestLimits(t *testing.T) {
	type limits struct{ mail, rcpt, domain int }
	for _, tt := range []struct {
		line string
		want limits
	}{
		{"LIMITS MAILMAX=10 RCPTMAX=100 RCPTDOMAINMAX=1", limits{10, 100, 1}},
		{"LIMITS RCPTMAX=20 MAILMAX=5", limits{mail: 5, rcpt: 20}}, // RFC 9422 §5
		{"LIMITS rcptMax=20", limits{rcpt: 20}},
		{"LIMITS", limits{}},
		{"LIMITS  MAILMAX=5  RCPTMAX=6 ", limits{mail: 5, rcpt: 6}},

		// One to six digits, no zero first; a bad value costs only its own name.
		{"LIMITS MAILMAX=999999", limits{mail: 999999}},
		{"LIMITS MAILMAX=1000000 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=0 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=05 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=-5 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=+5 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=five RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=5=5 RCPTMAX=6", limits{rcpt: 6}},
		{"LIMITS MAILMAX=5,RCPTMAX=6 RCPTDOMAINMAX=2", limits{domain: 2}},
		{"LIMITS MAILMAX RCPTMAX=6", limits{rcpt: 6}},

		// Names that nobody knows yet are passed over.
		{"LIMITS X-NEW_1=a/b:c RCPTMAX=6 XMAILMAX=5 MAILMAXX=5", limits{rcpt: 6}},
		{"LIMITS NEWFLAG RCPTMAX=6", limits{rcpt: 6}},

		// A list that is none costs all of it.
		{"LIMITS MAILMAX=5 =6", limits{}},
		{"LIMITS MAILMAX= RCPTMAX=6", limits{}},
		{"LIMITS MAILMAX=5 RCPT.MAX=6", limits{}},
		{"LIMITS RCPTMAX=6 NEW=a;b", limits{}},
		{"LIMITS RCPTMAX=6;MAILMAX=5", limits{}},
		{"LIMITS RCPTMAX=6 NEW=é", limits{}},
		{"LIMITS RCPTMAX=6 NÉW=1", limits{}},
		{"LIMITS RCPTMAX=6 NEW=a\x01", limits{}},
		{"LIMITS (RCPTMAX=6)", limits{}},
	} {
		c := ParseCapabilities("mx.example.com\n" + tt.line)
		if got := (limits{c.MailMax, c.RcptMax, c.RcptDomainMax}); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.line, got, tt.want)
		}
	}
}

// RFC 4865, RFC 2852 and RFC 6710: what is not in its form limits nothing.
func TestTimesAndPriorityAreOffered(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for line, want := range map[string]Capabilities{
		"FUTURERELEASE 86400 2030-01-02T03:04:05Z": {FutureRelease: true, HoldMax: 86400, HoldMaxDate: until},
		"futurerelease 999999999":                  {FutureRelease: true, HoldMax: 999999999},
		"FUTURERELEASE":                            {FutureRelease: true},
		"FUTURERELEASE 1000000000 999999999":       {FutureRelease: true},
		"FUTURERELEASE -1 2030-01-02":              {FutureRelease: true},
		"FUTURERELEASES 86400":                     {},
		"DELIVERBY":                                {DeliverBy: true},
		"DeliverBy 240":                            {DeliverBy: true, DeliverByMin: 240},
		"DELIVERBY 240,X-MORE=1":                   {DeliverBy: true, DeliverByMin: 240},
		"DELIVERBY soon":                           {DeliverBy: true},
		"MT-PRIORITY":                              {MTPriority: true},
		"mt-priority MIXER":                        {MTPriority: true},
	} {
		if got := ParseCapabilities("mx.example.com\n" + line); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}
