package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider"
)

// written are the flags that name what is written; every other flag with a FILE or DIR
// names something that is read.
var written = []string{"mail --force", "mail --journal", "mail --log", "mail --preview", "mail --table",
	"sink --ca-out", "sink --force", "sink --save"}

// Every file that mail reads is known to its outputs, so that none takes its place. A
// new flag is known too, or is in the list above.
func TestOutputsKnowWhatIsRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args, read := []string{"mail", file("recipients"), "--dkim-domain", "example.com", "--dkim-selector",
		"a"}, []string{"recipients"}
	var writers []string
	for _, command := range kong.Must(new(cli), kong.NoDefaultHelp(), flagHelp).Model.Children {
		for _, flag := range command.Flags {
			if flag.PlaceHolder != "FILE" && flag.PlaceHolder != "DIR" {
				continue
			}
			name := command.Name + " --" + flag.Name
			switch {
			case slices.Contains(written, name):
				writers = append(writers, name)
			case command.Name == "mail":
				args, read = append(args, "--"+flag.Name, file(flag.Name)), append(read, flag.Name)
			}
		}
	}
	if slices.Sort(writers); !slices.Equal(writers, written) || len(read) < 10 {
		t.Errorf("writing: %q; reading: %q", writers, read)
	}
	var app cli
	if _, err := kong.Must(&app, kong.NoDefaultHelp(), flagHelp).Parse(args); err != nil {
		t.Fatal(err)
	}
	c := &app.Mail
	r := &mailReport{out: newOutputs(streams{}, nil), route: &route{
		file:    c.Config,
		servers: []postrider.Config{{CAFile: c.CAFile, ClientCert: c.ClientCert, ClientKey: c.ClientKey}},
	}}
	c.inputs(r)
	for _, name := range read {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.out.take("--log", name, info, appends); errorCode(err) != exitCantCreate {
			t.Errorf("what --%s reads may be written to: %v", name, err)
		}
	}
}

// --force names a file, and not all files that are called so.
func TestForceIsForOneFile(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if err := os.WriteFile(filepath.Join(d, "notes"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "notes"), filepath.Join(other, "link")); err != nil {
		t.Fatal(err)
	}
	for force, want := range map[string]int{filepath.Join(other, "notes"): exitCantCreate,
		filepath.Join(other, "link"): exitOK} {
		o := newOutputs(streams{}, []string{force})
		_, err := o.open(&output{flag: "--table", name: filepath.Join(dir, "notes"), ours: isTable})
		if o.close(); errorCode(err) != want {
			t.Errorf("--force %s: %v", force, err)
		}
	}
}

// An authority of somebody else's, signed by itself as the sink's is, is no sink's.
func TestTheSinkKnowsItsOwnAuthority(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"smtptest CA": true, "Example CA": false} {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if isAuthority(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) != want {
			t.Errorf("%s: ours is %v", name, !want)
		}
	}
}
