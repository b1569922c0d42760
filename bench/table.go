package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is Markdown whose columns also stand below each other in a terminal.
type table struct{ rows [][]string }

// add adds a row; the first is the head.
func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table; its first row is the head, its first column words and
// the others numbers.
func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 4)
		}
	}
	for i, row := range t.rows {
		for k, cell := range row {
			pad := strings.Repeat(" ", widths[k]-utf8.RuneCountInString(cell))
			if k > 0 {
				cell, pad = pad, cell
			}
			fmt.Fprintf(w, "| %s%s ", cell, pad)
		}
		fmt.Fprintln(w, "|")
		if i > 0 {
			continue
		}
		for k, width := range widths {
			rule := strings.Repeat("-", width)
			if k > 0 {
				rule = rule[1:] + ":"
			}
			fmt.Fprintf(w, "| %s ", rule)
		}
		fmt.Fprintln(w, "|")
	}
}

// report writes one scenario's table.
func (b *bench) report(w io.Writer, r *result) {
	fmt.Fprintf(w, "\n### %s: %s\n\n", r.name, r.title)
	var ours []string
	for _, name := range r.clients {
		if b.clients[name].kind == our {
			ours = append(ours, name)
		}
	}
	head := []string{"client", "messages/s", "best", "CPU µs"}
	if r.pinged() {
		head = append(head, "round trips")
	} else if r.mta == "" {
		head = append(head, "sink's")
	}
	if r.heap {
		head = append(head, "heap KiB")
	}
	t := &table{}
	t.add(append(head, abbreviated(ours)...)...)
	for _, name := range r.clients {
		t.add(b.row(r, name, ours)...)
	}
	t.write(w)
	for _, f := range r.faults {
		fmt.Fprintf(w, "\n%s\n", f)
	}
}

// row is one client's line: what it does, and how many times as fast each of ours
// is.
func (b *bench) row(r *result, name string, ours []string) []string {
	runs := r.runs[name]
	best := runs.each((*sample).rate)
	cells := []string{name, short(runs.median((*sample).rate)), "–", short(1e6 * runs.median((*sample).cpu))}
	if len(best) > 0 {
		cells[2] = short(slices.Max(best))
	}
	if r.pinged() {
		cells = append(cells, short(runs.median((*sample).trips)))
	} else if r.mta == "" {
		cells = append(cells, short(1e6*runs.median((*sample).sink)))
	}
	if r.heap {
		heap := "–"
		if h := runs.heap(); !math.IsNaN(h) {
			heap = fmt.Sprintf("%.0f", h/kib)
		}
		cells = append(cells, heap)
	}
	for _, o := range ours {
		if b.clients[name].kind == our {
			cells = append(cells, "")
		} else {
			cells = append(cells, short(ratio(r.runs[o], runs, (*sample).rate)))
		}
	}
	return cells
}

// abbreviated makes heads for narrow columns.
func abbreviated(names []string) []string {
	short := strings.NewReplacer("SendAll-Func", "F", "SendAll", "A", "Send×64", "64", "Send", "1", "mailing-", "",
		"/chunking", " c", "/pipelining", " p", "/plain", " n")
	heads := make([]string, len(names))
	for i, name := range names {
		heads[i] = short.Replace(name)
	}
	return heads
}
