//go:build !race

package postrider_test

const raced = false
