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

// Config is a configuration: a stack of layers over the defaults. A Config is safe
// for concurrent use; each method returns the value at the time of the call.
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

// Parse makes a configuration from the defaults and one text. Errors call the text
// by its name; if the name is a path, files that the text extends are relative to
// its directory. The environment is not read; see [Load].
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

// File returns the path of the file that [Load] read, "" if it read none.
func (c *Config) File() string { return c.file }

// Push adds a text as the topmost layer. The change takes effect at once, also for
// the [Config.Redirect] of existing connections. Pop uses the last element of name.
// If the text cannot be read, nothing changes.
//
// If name has no directory, a relative file name that the text extends is taken
// from the root directory, as in Mailman.
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

// Pop removes the topmost layer of this name and all layers above it, which restores
// the state before its Push: layers that it extends are removed too (Mailman keeps
// them). The file is a layer named by the last element of its path. If there is no
// such layer, and for the defaults, Pop returns [ErrNoOverlay] and changes nothing.
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
		return fmt.Errorf("%w: the defaults cannot be removed", ErrNoOverlay)
	}
	return fmt.Errorf("%w: %q; the layers are: %s", ErrNoOverlay, name, names(c.layers))
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

// Get returns the value of a key, "" if there is no such key. For a password key it
// returns the password.
func (c *Config) Get(section, key string) string {
	return c.view.Load().values[section][key].value
}

// Origin returns where the value of a key comes from: "mailman.cfg:12",
// "$POSTRIDER_SERVER_NAME", "override", or "default".
func (c *Config) Origin(section, key string) string {
	s := c.view.Load().values[section][key]
	if s.source == "" {
		return "default"
	}
	return strings.TrimSuffix((&Error{Source: s.source, Line: s.line}).where(), ": ")
}

// Warnings returns the mistakes that do not keep the configuration from being used:
// unknown sections, keys and variables, and values that will fail to convert when
// they are needed. Lower layers come first.
func (c *Config) Warnings() []*Error {
	return append([]*Error(nil), c.view.Load().warnings...)
}

// String returns the names of the layers, the lowest first.
func (c *Config) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "config(" + names(c.layers) + ")"
}

// Format prints [Config.String] for every verb, so that no verb prints a password.
func (c *Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue returns [Config.String], so that no log shows a password.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
