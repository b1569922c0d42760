//go:build race

package rig

// Raced: the race detector is on, under which everything takes ten times as long.
const Raced = true
