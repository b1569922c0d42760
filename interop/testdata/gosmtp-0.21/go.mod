module github.com/postrider/postrider/interop/testdata/gosmtp-0.21

go 1.26.0

require (
	github.com/emersion/go-smtp v0.21.3
	github.com/postrider/postrider/interop/testdata/gosmtp v0.0.0
)

require github.com/emersion/go-sasl v0.0.0-20200509203442-7bfe0ed36a21 // indirect

replace github.com/postrider/postrider/interop/testdata/gosmtp => ../gosmtp
