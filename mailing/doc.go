// Package mailing sends one message to many people, and says exactly what became of
// each of them.
//
// A [Plan] turns one message into a sequence of messages: chunks of recipients that
// share it ([Bulk], [ByDomain]), or a message of its own for each recipient
// ([Individual]), with a sender that tells whose bounce comes back ([VERP]), a To of
// their own ([PersonalTo]), text made for them ([Merge]), a way to leave
// ([ListFields]), and a signature over it all ([Signed]).
//
// A [Delivery] sends these messages through a [postrider.Sender], several at a time,
// tries again what may be tried again, and joins what became of them back into the
// caller's recipients:
//
//	report, err := (&mailing.Delivery{Plan: mailing.Bulk(500)}).Deliver(ctx, conn, message)
//	for _, o := range report.Failed() {
//		fmt.Println(o.Recipient, o.State, o.Reply)
//	}
//
// Who is to get it can be read from a file ([ReadRecipients]), and what is wrong or
// unwanted in it is told before anything is sent ([Hygiene]).
//
// Nothing is copied for each recipient but the header: 100,000 recipients of a
// message of 1 MiB share its body.
package mailing
