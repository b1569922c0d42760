// Package interop holds no code, but tests: Postrider against mail servers and mail
// clients that others wrote. Those that are not installed are skipped with a word;
// .ci/run installs them.
package interop
