module github.com/postrider/postrider/interop/testdata/gosmtp-0.24

go 1.26.0

require (
	github.com/emersion/go-smtp v0.24.0
	github.com/postrider/postrider/interop/testdata/gosmtp v0.0.0
)

require github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect

replace github.com/postrider/postrider/interop/testdata/gosmtp => ../gosmtp
