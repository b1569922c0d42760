package wire

import (
	"slices"
	"testing"
)

// What RFC 5321 §4.3.2, RFC 3207 §4 and RFC 4954 §4 let a command be answered with; codes
// that they do not name, by their first digit (RFC 5321 §4.2).
func TestWhatCanAnswer(t *testing.T) {
	all := []int{200, 211, 214, 220, 221, 235, 250, 251, 252, 259, 300, 334, 354, 399, 421, 450, 451, 452, 500, 503,
		535, 554}
	refusals := []int{421, 450, 451, 452, 500, 503, 535, 554}
	for c, want := range map[Command][]int{
		Greeting: {220},
		Hello:    {250},
		StartTLS: {220},
		Auth:     {235, 334},
		Mail:     {200, 250, 259},
		Rcpt:     {200, 250, 251, 252, 259},
		Data:     {354},
		Content:  {200, 250, 259},
		Reset:    {250},
		Quit:     {200, 211, 214, 220, 221, 235, 250, 251, 252, 259},
	} {
		for _, code := range all {
			want := slices.Contains(want, code) || slices.Contains(refusals, code)
			if got := c.CanAnswer(code); got != want {
				t.Errorf("command %d, code %d: %v, want %v", c, code, got, want)
			}
		}
	}
}
