package sasl

import (
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// talker is an Exchange whose every word is given.
type talker struct {
	initial    []byte
	has        bool
	start      error
	next       error
	challenges []string
	verdict    error
	accepted   []bool
}

func (t *talker) Start() ([]byte, bool, error) { return t.initial, t.has, t.start }

func (t *talker) Next(challenge []byte) ([]byte, error) {
	t.challenges = append(t.challenges, string(challenge))
	return []byte("r"), t.next
}

func (t *talker) Verdict(accepted bool) error {
	t.accepted = append(t.accepted, accepted)
	return t.verdict
}

// The lines of RFC 4954 §4, what others see of them, and how it ends.
func TestConverse(t *testing.T) {
	refused, unbelieved := errors.New("no answer"), errors.New("not proven")
	type reply struct {
		code int
		text string
		err  error
	}
	for _, tt := range []struct {
		name    string
		x       talker
		replies []reply
		lines   []string
		shown   []string
		err     error
	}{
		{"an initial response", talker{initial: []byte("i"), has: true}, []reply{{235, "", nil}},
			[]string{"AUTH X aQ=="}, []string{"AUTH X ********"}, nil},
		{"an empty one", talker{has: true}, []reply{{235, "", nil}}, []string{"AUTH X ="}, []string{"AUTH X ="}, nil},
		{"none", talker{}, []reply{{334, "Yw==", nil}, {535, "", nil}}, []string{"AUTH X", "cg=="},
			[]string{"AUTH X", "********"}, nil},
		{"a challenge that is not base64", talker{}, []reply{{334, "%", nil}, {501, "", nil}}, []string{"AUTH X", "*"},
			[]string{"AUTH X", "*"}, errors.New("")},
		{"a challenge without an answer", talker{next: refused}, []reply{{334, "", nil}, {501, "", nil}},
			[]string{"AUTH X", "*"}, []string{"AUTH X", "*"}, refused},
		{"a yes that is not believed", talker{verdict: unbelieved}, []reply{{235, "", nil}}, []string{"AUTH X"},
			[]string{"AUTH X"}, unbelieved},
		{"a lost server", talker{}, []reply{{0, "", io.EOF}}, []string{"AUTH X"}, []string{"AUTH X"}, io.EOF},
		{"nothing to say", talker{start: refused}, nil, nil, nil, refused},
		{"a server that asks on and on", talker{}, slices.Repeat([]reply{{334, "", nil}}, 7),
			append([]string{"AUTH X"}, "cg==", "cg==", "cg==", "cg==", "cg==", "*"),
			[]string{"AUTH X", "********", "********", "********", "********", "********", "*"}, errors.New("")},
	} {
		var lines, shown []string
		err := Converse(&tt.x, "X", func(line, s string) (int, string, error) {
			lines, shown = append(lines, line), append(shown, s)
			r := tt.replies[len(lines)-1]
			return r.code, r.text, r.err
		})
		if !slices.Equal(lines, tt.lines) || !slices.Equal(shown, tt.shown) {
			t.Errorf("%s: said %q, shown as %q", tt.name, lines, shown)
		}
		if (err == nil) != (tt.err == nil) || tt.err != nil && tt.err.Error() != "" && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if last := tt.replies; len(last) > 0 && last[len(lines)-1].code/100 != 3 && lines[len(lines)-1] != "*" &&
			last[0].err == nil && len(tt.x.accepted) != 1 {
			t.Errorf("%s: the verdict was told %d times", tt.name, len(tt.x.accepted))
		}
	}
}

// RFC 4954 §4: the command has 512 octets with its CRLF at most, a response 12,288.
func TestConverseKeepsLinesShort(t *testing.T) {
	fits, response := strings.Repeat("i", (512-len("AUTH X \r\n"))/4*3), base64.StdEncoding.EncodeToString([]byte("r"))
	for name, tt := range map[string]struct {
		initial string
		lines   []string
	}{
		"fits":           {fits, []string{"AUTH X " + base64.StdEncoding.EncodeToString([]byte(fits))}},
		"does not":       {fits + "i", []string{"AUTH X", response}},
		"the longest":    {strings.Repeat("i", (12288-2)/4*3), []string{"AUTH X", response}},
		"not to be said": {strings.Repeat("i", (12288-2)/4*3+1), nil},
	} {
		var lines []string
		x := talker{initial: []byte(tt.initial), has: true}
		err := Converse(&x, "X", func(line, _ string) (int, string, error) {
			lines = append(lines, line)
			if line == "AUTH X" {
				return 334, "", nil
			}
			return 235, "", nil
		})
		if !slices.Equal(lines, tt.lines) || errors.Is(err, ErrTooLong) != (tt.lines == nil) {
			t.Errorf("%s: said %.60q, %v", name, lines, err)
		}
	}
}
