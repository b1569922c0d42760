package mailing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postrider/postrider/mailing"
)

func TestCanonicalAddresses(t *testing.T) {
	long := strings.Repeat("x", 65)
	for address, want := range map[string]string{
		"anne@example.com":                 "anne@example.com",
		"Anne@EXAMPLE.com":                 "Anne@example.com",
		"anne@Bücher.Example":              "anne@xn--bcher-kva.example",
		"anne@xn--bcher-kva.example":       "anne@xn--bcher-kva.example",
		"anne@faß.example":                 "anne@xn--fa-hia.example",
		"grüße@example.com":                "grüße@example.com",
		`"a b"@example.com`:                `"a b"@example.com`,
		`"a@b"@example.com`:                `"a@b"@example.com`,
		"a!#$%&'*+/=?^_`{|}~-@example.com": "a!#$%&'*+/=?^_`{|}~-@example.com",
		"anne@[192.0.2.1]":                 "anne@[192.0.2.1]",
		"anne@[IPv6:2001:db8::1]":          "anne@[IPv6:2001:db8::1]",
		long[:64] + "@example.com":         long[:64] + "@example.com",

		"": "", "anne": "", "@example.com": "", "anne@": "", "anne@@example.com": "", "anne@example..com": "",
		".anne@example.com": "",
		"anne.@example.com": "", "an..ne@example.com": "", "an ne@example.com": "", "anne@exam ple.com": "",
		"anne@example.com ": "", " anne@example.com": "",
		"Anne <anne@example.com>": "", "<anne@example.com>": "", "anne@[300.0.2.1]": "", "anne@[2001:db8::1]": "",
		"anne@[IPv6:192.0.2.1]": "",
		"anne@-example.com":     "", "anne@example_.com": "",
		"anne@" + long[:64] + ".com": "", long + "@example.com": "",
		"anne(comment)@example.com":             "",
		"anne@example.com\r\nRCPT TO:<b@x.com>": "", "anne\x00@example.com": "", "anne\xff@example.com": "",
		"a,b@example.com": "", "anne@example.com,": "",
		`"open@example.com`: "", `an"ne"@example.com`: "", "anne\u2028@example.com": "", "a@" +
			strings.Repeat("x.", 130) + "com": "",
	} {
		got, err := mailing.Canonical(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", address, got, err, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, a := range []string{"anne@example.com", `"a b"@bücher.example`, "a@[192.0.2.1]", "a(b)@c", "\"\\\"\"@x"} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, address string) {
		canonical, err := mailing.Canonical(address)
		if err != nil {
			return
		}
		if strings.ContainsAny(canonical, "\r\n\x00") || len(canonical) > 254 {
			t.Errorf("%q", canonical)
		}
		if again, err := mailing.Canonical(canonical); again != canonical || err != nil {
			t.Errorf("%q becomes %q, %v once more", canonical, again, err)
		}
	})
}

func TestHygiene(t *testing.T) {
	list, err := mailing.ReadSuppression(strings.NewReader("\ufeff# who left\nGone@Example.com\n\n" +
		"@blocked.example\n@Bücher.example\n"))
	if err != nil {
		t.Fatal(err, list)
	}
	var people []mailing.Recipient
	for _, a := range []string{
		"anne@example.com", "wrong", "anne@EXAMPLE.COM", "Anne@example.com", "gone@example.com", "a@blocked.example",
		"a@deep.sub.Blocked.example", "a@notblocked.example",
		"a@xn--bcher-kva.example", "a@straße.example", "a@STRASSE.example", "a@xn--strae-oqa.example",
	} {
		people = append(people, mailing.Recipient{Address: a})
	}
	kept, skipped := mailing.Hygiene{Suppressed: list}.Clean(people)
	equal(t, "kept", mailing.Addresses(kept), []string{"anne@example.com", "Anne@example.com", "a@notblocked.example",
		"a@straße.example", "a@STRASSE.example"})
	var why []string
	for _, s := range skipped {
		why = append(why, fmt.Sprint(s.Index, " ", s))
	}
	equal(t, "skipped", why, []string{
		"1 wrong: syntax: it has no domain",
		"2 anne@EXAMPLE.COM: duplicate: of recipient 1, anne@example.com",
		"4 gone@example.com: suppressed: by Gone@Example.com",
		"5 a@blocked.example: suppressed: by @blocked.example",
		"6 a@deep.sub.Blocked.example: suppressed: by @blocked.example",
		"8 a@xn--bcher-kva.example: suppressed: by @Bücher.example",
		"11 a@xn--strae-oqa.example: duplicate: of recipient 10, a@straße.example",
	})
	if kept, _ := (mailing.Hygiene{KeepDuplicates: true}).Clean(people[:3]); len(kept) != 2 {
		t.Errorf("with duplicates: %v", kept)
	}
}

func TestASuppressionListThatCannotBeReadIsAnError(t *testing.T) {
	for _, text := range []string{"anne\n", "anne@example.com, bart@example.com\n", "@\n", strings.Repeat("x", 2<<20)} {
		if _, err := mailing.ReadSuppression(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q: no error", text)
		}
	}
}

func TestReadRecipients(t *testing.T) {
	for _, c := range []struct {
		format mailing.Format
		text   string
		want   string
	}{
		{mailing.Plain, "\ufeff# readers\r\nanne@example.com\r\n\r\n Bart Person <bart@example.com>\n\"C, D\" " +
			"<c@example.com>", "anne@example.com||map[]; bart@example.com|Bart Person|map[]; c@example.com|C, D|map[]"},
		{mailing.CSV, "\ufeffEmail,Name,Seat\nanne@example.com,Anne,12\n\" b@example.com \",\"B, the\n" +
			"\"\"second\"\"\",",
			"anne@example.com|Anne|map[email:anne@example.com name:Anne seat:12]; b@example.com|B, the\n" +
				"\"second\"|map[email: b@example.com  name:B, the\n\"second\" seat:]"},
		{mailing.JSONLines, "{\"address\":\"a@x.com\",\"Name\":\"A\",\"n\":12345678,\"gone\":null}\n\n" +
			"{\"email\":\"b@x.com\",\"deep\":{\"x\":[1,{\"gone\":null}],\"gone\":null}}\n",
			"a@x.com|A|map[address:a@x.com n:12345678 name:A]; b@x.com||map[deep:map[x:[1 map[]]] email:b@x.com]"},
		{mailing.Plain, "", ""},
		{mailing.JSONLines, "", ""},
	} {
		people, err := mailing.ReadRecipients(strings.NewReader(c.text), c.format)
		var got []string
		for _, p := range people {
			got = append(got, fmt.Sprintf("%s|%s|%v", p.Address, p.Name, p.Data))
		}
		if strings.Join(got, "; ") != c.want || err != nil {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.format, err, strings.Join(got, "; "), c.want)
		}
	}
}

// An error says where.
func TestReadRecipientsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		format     mailing.Format
		text, want string
	}{
		{mailing.CSV, "", "line of names"},
		{mailing.CSV, "name,seat\nanne,1\n", "no column has the name address or email"},
		{mailing.CSV, "\xff\xfee\x00m\x00\n", "line 1, column 1: the text is UTF-16"}, // as spreadsheets write it
		{mailing.CSV, "email,x,X\na@x.com,1,2\n", `two columns have the name "x"`},
		{mailing.CSV, "email,name\na@x.com\n", "line 2"},
		{mailing.CSV, "email\n\"" + strings.Repeat("open\n", 1<<20), "is a quote not closed"},
		{mailing.JSONLines, "{\"address\":\"a@x.com\"}\n[]\n", "line 2"},
		{mailing.JSONLines, "{\"address\":\"a@x.com\",\"N\":1,\"n\":2}\n", `line 1: two members have the name "n"`},
		{mailing.JSONLines, "{\"address\":1}\n", "no address: name it"},
		{mailing.JSONLines, "{\"address\":\"a@x.com\"}{}\n", "more text after"},
		{mailing.Plain, strings.Repeat("x", 2<<20), "line 1"},
		{"xml", "", "plain, csv or jsonl"},
	} {
		if _, err := mailing.ReadRecipients(strings.NewReader(c.text), c.format); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.30q: %v; want %s", c.format, c.text, err, c.want)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]mailing.Format{"a.csv": mailing.CSV, "A.CSV": mailing.CSV,
		"b.jsonl": mailing.JSONLines, "b.ndjson": mailing.JSONLines, "c.txt": mailing.Plain, "c": mailing.Plain} {
		if got := mailing.FormatOf(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A row whose address was left empty is skipped like any other wrong one, and told.
func TestARowWithoutAddressIsSkipped(t *testing.T) {
	for f, text := range map[mailing.Format]string{
		mailing.CSV:       "name,email\nAnne,\nBart,bart@example.com\n",
		mailing.JSONLines: "{\"name\":\"Anne\",\"email\":\" \"}\n{\"email\":\"bart@example.com\"}\n",
	} {
		all, err := mailing.ReadRecipients(strings.NewReader(text), f)
		if err != nil {
			t.Fatal(err)
		}
		kept, skipped := mailing.Hygiene{}.Clean(all)
		if len(kept) != 1 || kept[0].Address != "bart@example.com" || len(skipped) != 1 || skipped[0].Index != 0 ||
			skipped[0].Reason != mailing.Syntax || skipped[0].String() != "recipient 1 Anne: syntax: it is empty" {
			t.Errorf("%s: kept %v, skipped %+v", f, kept, skipped)
		}
	}
}
