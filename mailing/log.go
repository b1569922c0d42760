package mailing

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
)

// Mailman's templates (fact 102).
const (
	logEvery   = "$msgid smtp to $listname for $recip recips, completed in $time seconds"
	logSuccess = "$msgid post to $listname from $sender, $size bytes"
	logRefused = "$msgid post to $listname from $sender, $size bytes, $refused failures"
	logFailure = "$msgid delivery to $recip failed with code $smtpcode, $smtpmsg"
)

// noReply is the code of a failure without a reply.
const noReply = 444

// write writes the lines about a delivery that is over.
func (l *Log) write(r *Report) {
	if l.Writer == nil && l.Logger == nil {
		return
	}
	header, size := describe(r.Message.Content)
	failed := r.Failed()
	values := map[string]string{
		"msgid":    cmp.Or(text.Printable(strings.TrimSpace(header.Get("Message-ID"))), "n/a"),
		"listname": text.Printable(l.ListName),
		"sender":   text.Printable(r.Message.From),
		"recip":    strconv.Itoa(len(r.Outcomes)),
		"size":     strconv.FormatInt(size, 10),
		"time":     strconv.FormatFloat(r.Took.Seconds(), 'f', -1, 64),
		"refused":  strconv.Itoa(len(failed)),
	}
	l.line(cmp.Or(l.Every, logEvery), values)
	for i := range failed {
		if i == 0 {
			l.line(cmp.Or(l.Refused, logRefused), values)
		}
		l.line(cmp.Or(l.Failure, logFailure), failureValues(values, &failed[i]))
	}
	if len(failed) == 0 {
		values["recip"] = text.Printable(toAndCc(header))
		l.line(cmp.Or(l.Success, logSuccess), values)
	}
}

// toAndCc is what $recip stands for in a line of success.
func toAndCc(h *Header) string {
	return strings.Trim(h.Get("To")+","+h.Get("Cc"), ",")
}

func failureValues(values map[string]string, o *postrider.Outcome) map[string]string {
	values = maps.Clone(values)
	values["recip"] = text.Printable(o.Recipient)
	values["smtpcode"] = strconv.Itoa(cmp.Or(o.Reply.Code, noReply))
	values["smtpmsg"] = cmp.Or(reason(o), o.State.String())
	return values
}

// line writes one line, unless its template says no.
func (l *Log) line(template string, values map[string]string) {
	if strings.EqualFold(template, "no") {
		return
	}
	text := os.Expand(template, func(name string) string {
		if value, ok := values[name]; ok {
			return value
		}
		if name == "$" {
			return name
		}
		return "$" + name
	})
	if l.Writer != nil {
		fmt.Fprintln(l.Writer, text)
	}
	if l.Logger != nil {
		l.Logger.Info(text)
	}
}

// describe returns a content's header and size; an empty header if it cannot be read.
func describe(c postrider.Content) (h *Header, size int64) {
	s, err := newSource(c)
	if err != nil {
		return &Header{}, 0
	}
	size = int64(len(s.head) + len(s.body))
	if !s.held {
		if r, err := s.open(); err == nil {
			n, _ := io.Copy(io.Discard, r)
			r.Close()
			size += n
		}
	}
	if h, err = readHeader(s.head); err != nil {
		return &Header{}, size
	}
	return h, size
}
