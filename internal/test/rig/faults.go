package rig

import (
	"math/rand/v2"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// StormFault draws what goes wrong on one wire.
func StormFault(rnd *rand.Rand, connection int) smtptest.Fault {
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	f := smtptest.Fault{Connection: connection, Nth: 1 + rnd.IntN(12),
		Then: []smtptest.Then{smtptest.ThenClose, smtptest.ThenAbort, smtptest.ThenHang}[rnd.IntN(3)]}
	switch rnd.IntN(6) {
	case 0:
		f.AfterRead, f.Nth = 1+rnd.Int64N(200_000), 0
	case 1:
		f.AfterWritten, f.Nth = 1+rnd.Int64N(4000), 0
	case 2: // no reply, or half a one
		f.Command = pick("MAIL", "RCPT", "DATA", ".", "BDAT", "RSET", "QUIT")
		f.Answer = []smtptest.Answer{smtptest.AnswerNone, smtptest.AnswerHalf}[rnd.IntN(2)]
	case 3: // declined, and ended
		f.Command, f.Reply = pick("MAIL", "RCPT", "DATA", "."), pick("421 4.3.2 bye", "451 4.4.2 slow")
		f.Then = []smtptest.Then{smtptest.ThenProceed, smtptest.ThenClose, smtptest.ThenKeepOpen}[rnd.IntN(3)]
	case 4: // refused, and no more
		f.Command, f.Then = pick("MAIL", "RCPT", "DATA", ".", "BDAT"), smtptest.ThenProceed
		f.Reply = pick("550 5.7.1 no", "450 4.3.0 later", "452 4.5.3 too many", "552 5.3.4 too big", "530 5.7.0 login",
			"503 5.5.1 what", "hello", "354 what")
	case 5:
		f.Command, f.Then, f.Delay = pick("MAIL", "RCPT", "DATA", "."), smtptest.ThenProceed,
			time.Duration(rnd.Int64N(int64(20*time.Minute)))
	}
	return f
}

// At is a fault: the reply to the nth command of a kind on each wire.
func At(command string, nth int, reply string) []smtptest.Fault {
	return []smtptest.Fault{{Command: command, Nth: nth, Reply: reply}}
}
