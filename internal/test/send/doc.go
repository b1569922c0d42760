// Package send tests what a caller holds: what a Message may ask for, and what a Result, its outcomes and an Error say.
package send
