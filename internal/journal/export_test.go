package journal

import "os"

// CreateInPlace is createInPlace.
func CreateInPlace(name string, header []byte) error { return createInPlace(name, header) }

// Lock is what comes after opening the file.
func Lock(name string, f *os.File) error { return (&Journal{name: name, file: f}).lock() }
