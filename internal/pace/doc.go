// Package pace decides how hard an MTA may be pressed: how many connections it gets ([Limit]), for how long it is left
// alone after it failed ([Health]), and how fast messages go out ([Rate]).
//
// Limit and Health are arithmetic: they have no clock, no lock and no goroutine, and are told the time. Their caller
// guards them.
package pace
