package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far a command is: on a terminal one line that is overwritten, elsewhere nothing, or a line now and
// then.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration // how often a line is written where there is no terminal; 0: never
}

// refresh is how often the line on a terminal is overwritten.
const refresh = 250 * time.Millisecond

const eraseLine = "\r\x1b[K"

func newProgress(w io.Writer) *progress { return &progress{w: w, terminal: terminal(w)} }

// show writes the line on a terminal.
func (p *progress) show(line string) {
	if p.terminal {
		fmt.Fprint(p.w, eraseLine, line)
	}
}

// clear takes the line away, so that others can be printed.
func (p *progress) clear() { p.show("") }

// follow shows a line, made for the time that has passed, until it is told to take that away.
func (p *progress) follow(line func(passed time.Duration) string) (wipe func()) {
	every := p.every
	if p.terminal {
		every = refresh
	}
	if every == 0 {
		return func() {}
	}
	start, ticker := time.Now(), time.NewTicker(every)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-ticker.C:
				p.update(line(time.Since(start)))
			case <-done:
				p.clear()
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done); <-gone }
}

func (p *progress) update(line string) {
	if p.terminal {
		p.show(line)
	} else {
		fmt.Fprintln(p.w, "postrider:", line)
	}
}

// bar is how much is done, in twenty characters.
func bar(done, total int) string {
	const width = 20
	filled := width * done / max(1, total)
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", width-filled) + "]"
}
