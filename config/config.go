package config

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Config is a configuration: a stack of layers over the defaults. It is safe for
// use by several goroutines; each value that it gives is that of the moment.
type Config struct {
	file string // what Load read

	mu     sync.Mutex
	layers []layer // guarded by mu; the lowest first, the defaults are below it

	// view is what the layers amount to. Readers take it without the lock; Push
	// and Pop replace it whole, so that a reader never sees half a change.
	view atomic.Pointer[view]
}

// layer is a document on the stack.
type layer struct {
	name  string // what Pop calls it
	doc   *document
	below int // how many layers right below it are what it extends
}

// Parse makes a configuration of the defaults and one text. name stands for it in
// errors; if it is a path, what the text extends is looked for beside it. The
// environment has no say; see [Load].
func Parse(name, text string) (*Config, error) {
	layers, err := read(name, directory(name), text)
	if err != nil {
		return nil, err
	}
	return newConfig("", layers), nil
}

func newConfig(file string, layers []layer) *Config {
	c := &Config{file: file, layers: layers}
	c.view.Store(newView(layers))
	return c
}

// File is the path of the file that [Load] read, "" if it read none.
func (c *Config) File() string { return c.file }

// Push lays a text on top of everything else, which takes effect at once, for
// the [Config.Redirect] of existing connections too. Its name is for Pop; of a
// path only the last element counts. If the text cannot be read, nothing changes.
//
// A text that has no directory and extends a relative file name extends that of
// the root directory, as it does in Mailman.
func (c *Config) Push(name, text string) error {
	layers, err := read(name, directory(name), text)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setLocked(append(c.layers, layers...))
	return nil
}

// Pop takes the topmost layer of this name off, and everything above it, so that
// all is as it was before its Push: what it extends goes too (Mailman leaves that
// behind). The file is a layer, called by the last element of its path. The error
// is [ErrNoOverlay] if there is none, and for the defaults: nothing changes then.
func (c *Config) Pop(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.layers) - 1; i >= 0; i-- {
		if c.layers[i].name == name {
			c.setLocked(c.layers[:i-c.layers[i].below])
			return nil
		}
	}
	if name == defaults || name == defaults+".cfg" {
		return fmt.Errorf("%w: the defaults cannot be popped", ErrNoOverlay)
	}
	return fmt.Errorf("%w: %q; there are: %s", ErrNoOverlay, name, names(c.layers))
}

// setLocked puts a new stack in force.
func (c *Config) setLocked(layers []layer) {
	c.layers = layers
	c.view.Store(newView(layers))
}

// defaults is the name of what lies below all layers.
const defaults = "schema"

func names(layers []layer) string {
	list := []string{}
	for _, l := range layers {
		list = append(list, legible(l.name))
	}
	if len(list) == 0 {
		return "only the defaults"
	}
	return strings.Join(list, ", ")
}

// base is the last element of a path.
func base(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

// directory is where the relative file names of a text start, "" if its name is
// only a name.
func directory(name string) string {
	if base(name) == name {
		return ""
	}
	return filepath.Dir(name)
}

// Get is the value of a key, "" if there is no such key. That of a password key
// is the password.
func (c *Config) Get(section, key string) string {
	return c.view.Load().values[section][key].value
}

// Origin says where the value of a key comes from: "mailman.cfg:12",
// "$POSTRIDER_SERVER_NAME", "override", or "default".
func (c *Config) Origin(section, key string) string {
	s := c.view.Load().values[section][key]
	if s.source == "" {
		return "default"
	}
	return strings.TrimSuffix((&Error{Source: s.source, Line: s.line}).where(), ": ")
}

// Warnings are the mistakes that do not keep the configuration from being used:
// sections, keys and variables that nobody knows, and values that will not
// convert if they are asked for. Lower layers come first.
func (c *Config) Warnings() []*Error {
	return append([]*Error(nil), c.view.Load().warnings...)
}

// String names the layers, the lowest first.
func (c *Config) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "config(" + names(c.layers) + ")"
}

// Format prints [Config.String] for every verb: no value, hence no password.
func (c *Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue logs [Config.String].
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
