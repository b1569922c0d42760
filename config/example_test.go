package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

// A connection follows development mode as it is switched on and off.
func Example() {
	c, err := config.Parse("mailman.cfg", `
[mta]
smtp_host: mail.example.com
smtp_port: 587
smtp_secure_mode: starttls
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := c.MTA(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Address, cfg.Mode)

	c.Push("devmode", `
[devmode]
enabled: yes
recipient: zperson@example.com
`)
	fmt.Println(cfg.Redirect())

	c.Pop("devmode")
	fmt.Println(cfg.Redirect())
	// Output:
	// mail.example.com:587 starttls
	// zperson@example.com true
	//  false
}

// A program's configuration: a file, the environment, and what its flags say.
func ExampleLoad() {
	c, err := config.Load(config.Options{
		File:      "testdata/debian.cfg",
		Environ:   []string{"POSTRIDER_MTA_SMTP_HOST=mta.example.com"}, // usually os.Environ()
		Overrides: map[string]string{"mta.smtp_port": "2525"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range c.Warnings() {
		fmt.Println("warning:", w)
	}
	cfg, err := c.MTA(context.Background())
	fmt.Println(cfg.Address, err)
	fmt.Println(c.Origin("mta", "smtp_host"))
	// Output:
	// warning: testdata/debian.cfg:48: [logging.debian] unknown section, which is ignored
	// mta.example.com:2525 <nil>
	// $POSTRIDER_MTA_SMTP_HOST
}

// Configuration to connection. Nothing is dialled before the first Send.
func ExampleConfig_MTA() {
	c, err := config.Load(config.Options{File: os.DevNull})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := c.MTA(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.MaxTransactions = 2
	_, err = postrider.NewConnection(cfg)
	fmt.Println(cfg.Address, err)
	// Output: localhost:25 <nil>
}

// Errors say where to look and what to write there.
func ExampleConfig_Duration() {
	c, err := config.Parse("mailman.cfg", "[mta]\ndelivery_retry_period: five days\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Duration("mta", "delivery_retry_period")
	fmt.Println(err)
	var e *config.Error
	fmt.Println(errors.As(err, &e), e.Line)

	wait, err := c.Duration("devmode", "wait")
	fmt.Println(wait == time.Minute, err)
	// Output:
	// mailman.cfg:2: [mta] delivery_retry_period: found "five days", want a duration such as 90s, 5d or 1w2d3h4m5s
	// true 2
	// true <nil>
}

// A slip of the pen is a warning with the name that was meant.
func ExampleConfig_Warnings() {
	c, err := config.Parse("mailman.cfg", `
[mta]
smtp_hots: mail.example.com
server_name: mail.example.com
[devmod]
enabled: yes
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range c.Warnings() {
		fmt.Println(w)
	}
	// Output:
	// mailman.cfg:3: [mta] smtp_hots: unknown key; did you mean smtp_host?
	// mailman.cfg:4: [mta] server_name: unknown key; it belongs in [postrider]
	// mailman.cfg:5: [devmod] unknown section; did you mean [devmode]?
}

func ExampleConfig_Pop() {
	c, err := config.Parse("mailman.cfg", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"auth", "devmode"} {
		if err := c.Push(name, "[mta]\nsmtp_user: "+name+"\n"); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(c)
	fmt.Println(c.Pop("auth"), c) // and all above it
	fmt.Println(c.Pop("auth"))
	// Output:
	// config(mailman.cfg, auth, devmode)
	// <nil> config(mailman.cfg)
	// config: no such overlay: "auth"; the layers are: mailman.cfg
}

// A pool of what a file says: two servers, at most ten messages a second.
func ExampleConfig_Pool() {
	c, err := config.Parse("mailman.cfg", `
[mta]
smtp_host: smtp1.example.com
smtp_port: 587
smtp_secure_mode: starttls
[postrider]
servers: smtp2.example.com:587
connections: 2
rate: 10
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, servers, err := c.Pool(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, err := postrider.NewPool(cfg, servers...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Shutdown(context.Background())
	fmt.Println(pool)
	// Output: smtp1.example.com:587, smtp2.example.com:587
}
