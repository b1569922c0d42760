// Package docs has tests of what the documents promise: that programs which a reader pastes compile, run and print
// what stands below them, that the drawing of the house names the rooms that exist, and that lines are not too long.
package docs
