// Package house checks the module itself: which package imports which, sizes, comments, and whether the documents say
// what the code does. The tests read the files of the module themselves, so that go test sees what their results
// depend on and never shows a cached one that is no longer true.
package house
