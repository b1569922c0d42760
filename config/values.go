package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider"
)

// Bool returns the value of a key as a boolean: true, yes, 1, on, enable, enabled or
// false, no, 0, off, disable, disabled, in upper or lower case.
func (c *Config) Bool(section, key string) (bool, error) {
	return c.view.Load().boolean(section, key)
}

// Int returns the value of a key as a whole number.
func (c *Config) Int(section, key string) (int, error) {
	return c.view.Load().integer(section, key)
}

// Duration returns the value of a key as a duration: numbers with the units w, d, h,
// m, s in this order, each at most once, without blanks, as in "5d", "1d12h" or
// "1.5h". Fractions are rounded to microseconds.
func (c *Config) Duration(section, key string) (time.Duration, error) {
	return c.view.Load().duration(section, key)
}

func (v *view) boolean(section, key string) (bool, error) {
	return convert(v, keyPath{section, key}, boolean, asBool)
}

func (v *view) integer(section, key string) (int, error) {
	return convert(v, keyPath{section, key}, integer, asInt)
}

func (v *view) decimal(section, key string) (float64, error) {
	return convert(v, keyPath{section, key}, decimal, asDecimal)
}

func (v *view) duration(section, key string) (time.Duration, error) {
	return convert(v, keyPath{section, key}, duration, asDuration)
}

func (v *view) secureMode(section, key string) (postrider.SecureMode, error) {
	return convert(v, keyPath{section, key}, secureMode, asSecureMode)
}

// convert reads a value with one of the conversions below. They return ok and
// not an error: what is wanted is said once, by wants, and where it was found is
// known here.
func convert[T any](v *view, at keyPath, k kind, as func(string) (T, bool)) (T, error) {
	s, known := v.values[at.section][at.key]
	if !known {
		var zero T
		return zero, &Error{Section: at.section, Key: at.key, Problem: "there is no such key"}
	}
	value, ok := as(s.value)
	if !ok {
		return value, v.unfit(at.section, at.key, k.wants())
	}
	return value, nil
}

// unfit is the error for a value that is not what its key wants.
func (v *view) unfit(section, key, wants string) *Error {
	s := v.values[section][key]
	// Quoted, so that blanks and control characters can be seen and do no harm.
	found := strconv.Quote(s.value)
	switch {
	case isSecret(section, key):
		found = "a value that is not shown here"
	case len(s.value) > 60:
		found = strconv.Quote(s.value[:60]) + "..."
	}
	return v.at(section, key, fmt.Sprintf("found %s, want %s", found, wants))
}

// at is an error about a key, placed where its value comes from.
func (v *view) at(section, key, problem string) *Error {
	s := v.values[section][key]
	return &Error{Source: s.source, Line: s.line, Section: section, Key: key, Problem: problem}
}

// accepts reports whether a value of this kind will convert.
func (k kind) accepts(value string) (ok bool) {
	switch k {
	case boolean:
		_, ok = asBool(value)
	case integer:
		_, ok = asInt(value)
	case decimal:
		_, ok = asDecimal(value)
	case duration:
		_, ok = asDuration(value)
	case optionalDuration:
		_, ok = asDuration(value)
		ok = ok || value == ""
	case secureMode:
		_, ok = asSecureMode(value)
	default:
		ok = true
	}
	return ok
}

// wants describes what accepts accepts.
func (k kind) wants() string {
	switch k {
	case boolean:
		return "yes, true, on, enable, enabled or 1, or no, false, off, disable, disabled or 0"
	case integer:
		return "a whole number"
	case decimal:
		return "a number, 0 or more, such as 50 or 0.5"
	case duration, optionalDuration:
		return "a duration such as 90s, 5d or 1w2d3h4m5s"
	case secureMode:
		return "smtp (no TLS), smtps (TLS from the start) or starttls"
	}
	return "text"
}

// asBool is lazr.config's as_boolean. It does not strip: " yes" is not a boolean.
func asBool(value string) (b, ok bool) {
	switch strings.ToLower(value) {
	case "true", "yes", "1", "on", "enable", "enabled":
		return true, true
	case "false", "no", "0", "off", "disable", "disabled":
		return false, true
	}
	return false, false
}

var pythonInt = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)

// asInt is Python's int() of a string in ASCII: 1_000 is a number there.
func asInt(value string) (int, bool) {
	if value = strip(value); !pythonInt.MatchString(value) {
		return 0, false
	}
	n, err := strconv.Atoi(strings.ReplaceAll(value, "_", ""))
	return n, err == nil
}

// asDuration is lazr.config's as_timedelta.
func asDuration(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	total, rest := 0.0, value // in microseconds, the precision of Python's
	for _, u := range [...]struct {
		letter byte
		size   time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}} {
		// Going through the units in order, each once, is what refuses 2d1w and 1d1d.
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		if n == 0 || n == len(rest) || rest[n] != u.letter {
			continue
		}
		number, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, false
		}
		total += number * float64(u.size/time.Microsecond)
		rest = rest[n+1:]
	}
	if rest != "" || total >= math.MaxInt64/float64(time.Microsecond) {
		return 0, false
	}
	return time.Duration(math.RoundToEven(total)) * time.Microsecond, true
}

// asDecimal takes amounts: nothing below 0, no infinity, and not NaN.
func asDecimal(value string) (float64, bool) {
	x, err := strconv.ParseFloat(value, 64)
	return x, err == nil && x >= 0 && !math.IsInf(x, 0)
}

func asSecureMode(value string) (postrider.SecureMode, bool) {
	mode, err := postrider.ParseSecureMode(value)
	return mode, err == nil
}
