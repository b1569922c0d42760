// Package rig is what the black-box tests share: servers in memory with a Connection or a Pool to them, messages,
// faults, and checks that hold for every answer.
package rig
