package main

import (
	"fmt"
	"runtime/debug"
)

// version says what was built: the module's version or the commit, and the Go
// that built it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "postrider, of unknown version"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = commit(info)
	}
	return fmt.Sprintf("postrider %s, %s", v, info.GoVersion)
}

func commit(info *debug.BuildInfo) string {
	revision, modified := "(devel)", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	return revision + modified
}
