package text

import (
	"fmt"
	"slices"
	"strings"
)

// EnumWord is the word for value i of a type of constants; kind names the type where there is no such constant.
func EnumWord(words []string, i int, kind string) string {
	if i < 0 || i >= len(words) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return words[i]
}

// ReadEnum is the inverse of EnumWord; kind is what the error calls the type.
func ReadEnum[T ~int](to *T, word []byte, words []string, kind string) error {
	i := slices.Index(words, string(word))
	if i < 0 {
		return fmt.Errorf("there is no %s %q; there are %s", kind, word, strings.Join(words, ", "))
	}
	*to = T(i)
	return nil
}
