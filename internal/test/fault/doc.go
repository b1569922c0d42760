// Package fault tests what becomes of mail when something goes wrong or is broken off: wires that end after any octet,
// servers that fall silent or talk out of step, contents that fail, contexts that end, Close and Quit in the middle.
package fault
