package sasl

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

// inside64 is what nobody may see of a secret in base64: the characters that it alone decides, worked out bit by bit.
func inside64(secret string, before int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out strings.Builder
	bit := func(i int) byte { // of the text in which the secret stands behind this many octets
		octet := secret[i/8-before]
		return octet >> (7 - i%8) & 1
	}
	for first := 0; first+6 <= 8*(before+len(secret)); first += 6 {
		if first < 8*before {
			continue
		}
		var n byte
		for i := range 6 {
			n = n<<1 | bit(first+i)
		}
		out.WriteByte(alphabet[n])
	}
	return out.String()
}

func letters(r *rand.Rand, n int, from string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[r.IntN(len(from))]
	}
	return string(b)
}

func octets(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	return string(b)
}

// survivor is a run of 8 octets of the secret's base64 that can be seen in text, in either alphabet.
func survivor(secret, text string) string {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	for before := range 3 {
		inside := inside64(secret, before)
		for i := range max(0, len(inside)-7) {
			if strings.Contains(text, inside[i:i+8]) {
				return inside[i : i+8]
			}
		}
	}
	return ""
}

// Whatever the secret is, and wherever it stands in what a server says, as it is, within base64 of something longer,
// cut off, or broken into lines: it is not seen, and all the rest is.
func TestRedactorHidesSecretsAnywhere(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 4000 {
		secret := octets(r, 8+r.IntN(60))
		var red Redactor
		red.Add(byPassword("user", secret))
		secret = red.newer[0]
		ahead, behind := letters(r, r.IntN(40), "abc xyz. ")+" ", " "+letters(r, r.IntN(40), "abc xyz. ")
		longer := octets(r, r.IntN(9)) + secret + octets(r, r.IntN(9))
		encoded := base64.StdEncoding.EncodeToString([]byte(longer))
		if r.IntN(2) == 0 {
			encoded = base64.RawURLEncoding.EncodeToString([]byte(longer))
		}
		cut := encoded[:r.IntN(len(encoded)+1)]
		at := r.IntN(len(encoded) + 1)
		for name, shown := range map[string]string{
			"raw": secret, "base64": encoded, "cut off": cut, "in two lines": encoded[:at] + "\n" + encoded[at:],
			"both": encoded + " " + secret,
		} {
			got := red.Hide(ahead + shown + behind)
			if strings.Contains(got, secret) || survivor(secret, got) != "" {
				t.Fatalf("seed %d, %s: of %q in %q this is seen: %q", seed, name, secret, shown, got)
			}
			if !strings.HasPrefix(got, ahead) || !strings.HasSuffix(got, behind) {
				t.Fatalf("seed %d, %s: %q and %q are not in %q", seed, name, ahead, behind, got)
			}
		}
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("hunter22", "x", "535 5.7.8 ", "")
	f.Add("aaaaaaaab", "aaaa", "aaaaaaaaaaaaaaaaa", "a")
	f.Add("xyxyxyxyxyxyxyxyxyxyz", "xy", "eHl4eXh5eHl4eXh5", "xyxyxyxyxyxyxyxyxy")
	f.Fuzz(func(t *testing.T, secret, before, ahead, behind string) {
		if len(secret) < 8 {
			return
		}
		var red Redactor
		red.Add(Credentials{User: "user", Password: secret, Token: true}) // as it is
		for _, shown := range []string{secret, base64.StdEncoding.EncodeToString([]byte(before + secret + behind))} {
			got := red.Hide(ahead + shown + behind)
			if seen := survivor(secret, got); seen != "" {
				t.Errorf("%q in %q: %q is seen in %q", secret, shown, seen, got)
			}
			if rest := strings.ReplaceAll(got, hidden, "\n"); len(secret) > 8 && !strings.Contains("\n", secret) &&
				strings.Contains(rest, secret) {
				t.Errorf("%q is seen in %q", secret, got)
			}
		}
	})
}

// What is no secret stays to the letter, words that a password is made of among it.
func TestRedactorLeavesWords(t *testing.T) {
	var none, red Redactor
	red.Add(byPassword("anne@example.com", "correct horse battery staple"))
	red.Add(byPassword("anne@example.com", "mail"))
	for _, said := range []string{
		"", "ok", "2.0.0 Ok: queued as 4ZkQmT1Xv3z9sS", "the horse battery is correct",
		"anne@example.com does not exist", "mail is no word to hide",
		"c29tZXRoaW5nIGVsc2UgdGhhdCBpcyBsb25n", "\xff\xfe",
	} {
		if got := red.Hide(said); got != said {
			t.Errorf("%q became %q", said, got)
		}
		if got := none.HideInAuth(said); got != said {
			t.Errorf("without a secret %q became %q", said, got)
		}
	}
	if got := red.HideInAuth("mail: bWFpbA== and AG1haWwA"); got != "********: ********A== and AG********wA" {
		t.Errorf("in AUTH a short secret is shown: %q", got)
	}
}

// Tokens come and go: the newest are known, and what they cost stays the same.
func TestRedactorRemembersTheNewest(t *testing.T) {
	var red Redactor
	token := func(i int) string { return "ya29." + strings.Repeat(string(rune('a'+i)), 20) }
	for i := range 20 {
		red.Add(Credentials{User: "u", Password: token(i), Token: true})
		red.Add(Credentials{User: "u", Password: token(i), Token: true})
	}
	for i := range 20 {
		if got, want := red.Hide(token(i)) == hidden, i >= 20-mostSecrets; got != want {
			t.Errorf("token %d is hidden: %t", i, got)
		}
	}
	if len(red.newer) != mostSecrets {
		t.Errorf("%d are kept", len(red.newer))
	}
}

// A server cannot make a long reply of what it was told into much work.
func TestRedactorOfHostileReplies(t *testing.T) {
	var red Redactor
	secret := strings.Repeat("x", 1500) + strings.Repeat("xy", 300)
	red.Add(Credentials{User: "u", Password: secret, Token: true})
	for _, said := range []string{strings.Repeat("x", 64<<10), strings.Repeat("xy", 32<<10),
		strings.Repeat("eHh4", 16<<10)} {
		if got := red.Hide(said); len(got) > 100 {
			t.Errorf("%d octets of %.20q… are left", len(got), said)
		}
	}
}

func BenchmarkRedactor(b *testing.B) {
	var none, some Redactor
	some.Add(byPassword("anne", "correct horse battery staple"))
	for name, red := range map[string]*Redactor{"none": &none, "some": &some} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				red.Hide("2.1.5 Recipient ok, and so is what stands behind it")
			}
		})
	}
}
