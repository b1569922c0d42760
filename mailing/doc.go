// Package mailing sends one message to many recipients, and reports exactly what became of each of them.
//
// A [Plan] turns one message into a sequence of messages: chunks of recipients that share it ([Bulk], [ByDomain]), or
// one message for each recipient ([Individual]), with an envelope sender that identifies the bouncing recipient
// ([VERP]), a To of their own ([PersonalTo]), text made for them ([Merge]), a way to unsubscribe ([ListFields]), and a
// signature over it all ([Signed]).
//
// A [Delivery] sends these messages through a [postrider.Sender], several at a time, tries again what may be tried
// again, and reports the outcomes by the caller's recipients:
//
//	report, err := (&mailing.Delivery{Plan: mailing.Bulk(500)}).Deliver(ctx, conn, message)
//	for _, o := range report.Failed() {
//		fmt.Println(o.Recipient, o.State, o.Reply)
//	}
//
// Recipients can be read from a file ([ReadRecipients]); wrong and unwanted ones are found before anything is sent
// ([Hygiene]).
//
// Only the header is copied for each recipient: 100,000 recipients of a message of 1 MiB share its body.
package mailing
