package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// ErrNoOverlay is returned by [Config.Pop] for the name of no layer, and for the
// defaults.
var ErrNoOverlay = errors.New("config: no such overlay")

// Error is a mistake in a configuration and its place. A mistake that keeps the
// configuration from being used is returned as an error, any other is a warning.
type Error struct {
	Source  string // the file, overlay, "$VARIABLE" or "override"; "" for a default
	Line    int    // in Source, from 1; 0 if Source has no lines
	Section string // "" if the mistake is not in a section
	Key     string // "" if the mistake is not about a key
	Problem string // what was found and what is accepted, never a password
	Err     error  // the cause, such as a file that cannot be read
}

// Error returns one line for an operator: file, line, section, key and problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.where())
	if e.Section != "" {
		b.WriteString("[" + legible(e.Section) + "] ")
	}
	if e.Key != "" {
		b.WriteString(legible(e.Key) + ": ")
	}
	b.WriteString(e.Problem)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) where() string {
	switch {
	case e.Source == "":
		return "config: "
	case e.Line == 0:
		return legible(e.Source) + ": "
	}
	return fmt.Sprintf("%s:%d: ", legible(e.Source), e.Line)
}

// legible cuts what an operator's terminal should not have to take: names come
// from the file and may be long or hold control characters.
func legible(name string) string {
	const longest = 200
	if len(name) > longest {
		name = name[:longest] + "..."
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}
