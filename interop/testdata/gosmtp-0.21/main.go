// Command gosmtp-0.21 is a mail server on go-smtp 0.21.3.
package main

import (
	_ "github.com/emersion/go-smtp" // go.mod says which

	"github.com/postrider/postrider/interop/testdata/gosmtp"
)

func main() { gosmtp.Main() }
