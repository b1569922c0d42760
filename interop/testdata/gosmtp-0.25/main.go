// Command gosmtp-0.25 is a mail server on go-smtp 0.25.1.
package main

import (
	_ "github.com/emersion/go-smtp" // go.mod says which

	"github.com/postrider/postrider/interop/testdata/gosmtp"
)

func main() { gosmtp.Main() }
