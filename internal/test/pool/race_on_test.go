//go:build race

package pool_test

// raced: the race detector is on, under which everything takes twenty times as long.
const raced = true
