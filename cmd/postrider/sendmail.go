package main

import "fmt"

// sendmailFlags are those that programs give to a sendmail out of habit. They
// mean nothing here and are taken without a word; kong wants a long name for
// each.
type sendmailFlags struct {
	IgnoreDots  bool     `short:"i" name:"ignore-dots" hidden:""` // a line with a single dot never ends our input
	Option      []string `short:"o" name:"sendmail-option" sep:"none" hidden:""`
	LongOption  []string `short:"O" name:"sendmail-long-option" sep:"none" hidden:""`
	BodyType    string   `short:"B" name:"body-type" hidden:""` // the library sees for itself
	FullName    string   `short:"F" name:"full-name" hidden:""` // the message is not edited
	Submission  string   `short:"A" name:"submission-file" hidden:""`
	ErrorMode   string   `short:"e" name:"error-mode" hidden:""`
	Label       string   `short:"L" name:"syslog-label" hidden:""`
	Protocol    string   `short:"p" name:"protocol" hidden:""`
	MeToo       bool     `short:"m" name:"me-too" hidden:""`
	NoAliases   bool     `short:"n" name:"no-aliases" hidden:""`
	Gateway     bool     `short:"G" name:"gateway" hidden:""`
	UserSubmits bool     `short:"U" name:"user-submission" hidden:""`

	OldSender *string `short:"r" name:"old-sender" placeholder:"ADDRESS" hidden:""` // -f by another name
	Become    string  `short:"b" name:"become" hidden:""`
}

// validate refuses what a sendmail would do and we do not: to say nothing would
// lose mail.
func (f *sendmailFlags) validate() error {
	if f.Become != "" && f.Become != "m" {
		return fmt.Errorf("-b%s: of sendmail's modes only -bm, to send a message, is known", f.Become)
	}
	return nil
}
