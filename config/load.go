package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Options are what [Load] reads. The zero value reads /etc/mailman.cfg or
// /etc/mailman3/mailman.cfg, or only the defaults if neither exists.
type Options struct {
	// File is the configuration file to read (flag -C). Default: the first of
	// $POSTRIDER_CONFIG_FILE, $MAILMAN_CONFIG_FILE, $HOME/.mailman.cfg,
	// /etc/mailman.cfg and /etc/mailman3/mailman.cfg. A file named here or by a
	// variable must exist; os.DevNull stands for a file without settings.
	//
	// Other places where Mailman looks are not searched: ./mailman.cfg and
	// ./var/etc/mailman.cfg, because a program must not take the host to send its
	// password to, or a command to run, from whatever directory it is started in;
	// and the file beside Mailman's own program.
	File string

	// Environ is the environment, as returned by os.Environ. If nil, no variables
	// are read.
	Environ []string

	// Overrides are values set by the caller's flags, by section and key:
	// "mta.smtp_host", "postrider.server_name". An unknown key is an error.
	Overrides map[string]string
}

// Load makes a configuration from the defaults, a file, the environment and the
// caller's overrides, each taking precedence over the one before. Each is a layer:
// Pop knows them by the file's name, "environment" and "overrides".
func Load(o Options) (*Config, error) {
	var layers []layer
	file, err := o.find()
	if err != nil {
		return nil, err
	}
	if file != "" {
		text, err := readFile(file)
		if err != nil {
			return nil, &Error{Source: file, Err: err, Problem: "cannot read the configuration file; " +
				"choose another with -C or $" + fileVariable}
		}
		if layers, err = read(file, filepath.Dir(file), text); err != nil {
			return nil, err
		}
	}
	if doc := environment(o.Environ); doc != nil {
		layers = append(layers, layer{name: doc.source, doc: doc})
	}
	doc, err := overrides(o.Overrides)
	if err != nil {
		return nil, err
	}
	if doc != nil {
		layers = append(layers, layer{name: doc.source, doc: doc})
	}
	return newConfig(file, layers), nil
}

const (
	// prefix begins the variables that are ours.
	prefix = "POSTRIDER_"

	// fileVariable names the file; unlike all others it is no key.
	fileVariable = prefix + "CONFIG_FILE"
)

// find is the file to read, "" if there is none.
func (o Options) find() (string, error) {
	named, places := o.places()
	if named != "" {
		return named, nil
	}
	for _, path := range places {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		// A file that exists but cannot be accessed is not passed over: it
		// could be the one that switches development mode on.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // HOME=/dev/null
			return "", &Error{Source: path, Err: err, Problem: "cannot access the configuration file; " +
				"choose another with -C or $" + fileVariable}
		}
	}
	return "", nil
}

// places returns the file that was named, or else the files that may exist.
func (o Options) places() (named string, places []string) {
	for _, named := range []string{o.File, o.variable(fileVariable), o.variable("MAILMAN_CONFIG_FILE")} {
		if named != "" {
			return named, nil
		}
	}
	if home := o.variable("HOME"); home != "" {
		places = append(places, filepath.Join(home, ".mailman.cfg"))
	}
	return "", append(places, "/etc/mailman.cfg", "/etc/mailman3/mailman.cfg")
}

func (o Options) variable(name string) string {
	for _, v := range o.Environ {
		if value, found := strings.CutPrefix(v, name+"="); found {
			return value
		}
	}
	return ""
}

// Bounds against a device or a circle, far above any real configuration.
const (
	maxFile    = 1 << 20
	maxExtends = 16
)

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) > maxFile {
		return "", fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	return string(text), err
}

// read makes layers of a text: first, that is lowest, what it extends.
func read(name, dir, text string) ([]layer, error) {
	return readExtending(name, dir, text, 0)
}

func readExtending(name, dir, text string, depth int) ([]layer, error) {
	doc, err := parse(name, dir, text)
	if err != nil {
		return nil, err
	}
	top := layer{name: base(name), doc: doc}
	meta := doc.index["meta"]
	if meta == nil || meta.index["extends"] == nil {
		return []layer{top}, nil
	}
	e := meta.index["extends"]
	path := extended(dir, e.value)
	below, err := readFile(path)
	switch {
	case e.value == "":
		return nil, e.extends("the file name is empty", nil)
	case depth == maxExtends:
		return nil, e.extends(fmt.Sprintf("more than %d files extend each other; is it a circle?", maxExtends), nil)
	case err != nil:
		return nil, e.extends("cannot read the file that this one extends", err)
	}
	layers, err := readExtending(path, filepath.Dir(path), below, depth+1)
	if err != nil {
		return nil, err
	}
	top.below = len(layers)
	return append(layers, top), nil
}

// extends is an error about what this entry extends.
func (e *entry) extends(problem string, err error) error {
	return &Error{Source: e.source, Line: e.line, Section: "meta", Key: "extends", Problem: problem, Err: err}
}

// extended is the path of a file that a text in dir extends. An absolute one is
// taken as it is; Mailman would put the directory before that too.
func extended(dir, path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case dir == "":
		return "/" + path
	}
	return filepath.Join(dir, path)
}

// environment makes a document of the POSTRIDER_ variables, nil if there are none.
func environment(environ []string) *document {
	// A document like a file's, so that merging, warnings and Pop need to know
	// nothing of variables; each entry has the name of its own for errors.
	doc := &document{source: "environment"}
	known := variables()
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, prefix) || name == fileVariable {
			continue
		}
		if at, ok := known[name]; ok {
			// Stripped as a file's values are: a secret that was mounted as a
			// variable often ends in a newline. smtp_pass_file keeps blanks.
			doc.block(at.section, 0).set(&entry{key: at.key, value: strip(value), source: "$" + name})
		} else {
			doc.warnings = append(doc.warnings, &Error{Source: "$" + name, Problem: unknownVariable(name, known)})
		}
	}
	if doc.blocks == nil && doc.warnings == nil {
		return nil
	}
	return doc
}

type keyPath struct{ section, key string }

// variables maps the names of environment variables to keys. It goes by the
// schema and not by cutting the name, in which an underscore may be anything.
func variables() map[string]keyPath {
	m := make(map[string]keyPath)
	for _, s := range schema {
		if s.name == "meta" {
			continue // it is about one file
		}
		section := strings.ReplaceAll(s.name, ".", "_") + "_"
		if s.name == "postrider" {
			section = ""
		}
		for _, k := range s.keys {
			m[prefix+strings.ToUpper(section+k.name)] = keyPath{s.name, k.name}
		}
	}
	return m
}

func unknownVariable(name string, known map[string]keyPath) string {
	var candidates []string
	for k := range known {
		candidates = append(candidates, strings.TrimPrefix(k, prefix))
	}
	slices.Sort(candidates) // of two that are equally near always the same
	if n := nearest(strings.TrimPrefix(name, prefix), candidates); n != "" {
		return fmt.Sprintf("unknown variable; did you mean $%s%s?", prefix, n)
	}
	return "unknown variable, which is ignored"
}

// overrides makes a document of the caller's flags, nil if there are none. An
// unknown key is an error here and not a warning: the caller knows the schema, and
// who typed the flag is looking at the screen.
func overrides(values map[string]string) (*document, error) {
	if len(values) == 0 {
		return nil, nil
	}
	doc := &document{source: "overrides"}
	for name, value := range values {
		section, key, dotted := cutLast(name, ".")
		s := findSection(section)
		switch {
		case !dotted:
			return nil, &Error{Source: "override", Problem: fmt.Sprintf("found %q, want a section and a key, such as "+
				"mta.smtp_host", name)}
		case s == nil:
			return nil, &Error{Source: "override", Section: section, Key: key, Problem: unknownSection(section)}
		}
		if key = strings.ToLower(key); !s.knows(key) {
			return nil, &Error{Source: "override", Section: section, Key: key, Problem: unknownKey(s, key)}
		}
		doc.block(section, 0).set(&entry{key: key, value: strip(value), source: "override"})
	}
	return doc, nil
}
