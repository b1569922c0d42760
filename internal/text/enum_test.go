package text

import "testing"

func TestWordsOfConstants(t *testing.T) {
	type colour int
	words := []string{"red", "green"}
	for i, want := range map[int]string{0: "red", 1: "green", 2: "Colour(2)", -1: "Colour(-1)"} {
		if got := EnumWord(words, i, "Colour"); got != want {
			t.Errorf("%d is %q, want %q", i, got, want)
		}
	}
	c := colour(7)
	if err := ReadEnum(&c, []byte("Red"), words, "colour"); err == nil || c != 7 ||
		err.Error() != `there is no colour "Red"; there are red, green` {
		t.Errorf("%d, %v", c, err)
	}
	if err := ReadEnum(&c, []byte("green"), words, "colour"); err != nil || c != 1 {
		t.Errorf("%d, %v", c, err)
	}
}

func TestOctetsThatAreNoUTF8(t *testing.T) {
	for s, kept := range map[string]bool{"": false, "Grüße": false, "Gr\xfc\xdfe": true} {
		octets := Octets(s)
		if (octets != nil) != kept || FromOctets("Gr\ufffd\ufffde", []byte(s)) != s || FromOctets(s, octets) != s {
			t.Errorf("%q: %q", s, octets)
		}
	}
}
