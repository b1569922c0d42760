package journal

import "os"

// Create is create.
func Create(name string, identity []byte) error { return create(name, identity) }

// CreateInPlace is createInPlace.
func CreateInPlace(name string, header []byte) error { return createInPlace(name, header) }

// Lock is what comes after opening the file.
func Lock(name string, f *os.File) error { return (&Journal{name: name, file: f}).lock() }
