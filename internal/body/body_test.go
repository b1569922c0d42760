package body

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// unseekable hides everything of a reader but Read.
func unseekable(r io.Reader) io.Reader { return struct{ io.Reader }{r} }

// text is n octets that tell their place.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// read opens a source, and reads up to n octets of it; −1: to its end.
func read(t *testing.T, s *Source, n int64) ([]byte, error) {
	t.Helper()
	r, _, err := s.Open(-1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if n >= 0 {
		return io.ReadAll(io.LimitReader(r, n))
	}
	return io.ReadAll(r)
}

// What ends within the part that is kept can be read as often as one likes, from the start; what goes on beyond it
// once.
func TestAReaderIsReadOnceAndItsBeginningIsKept(t *testing.T) {
	for _, size := range []int{0, 1, 1000, Kept - 1, Kept, Kept + 2, 1 << 20} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain": unseekable, "octet by octet": iotest.OneByteReader, "EOF with data": iotest.DataErrReader,
		} {
			want := text(size)
			s := Reader(wrap(bytes.NewReader(want)))
			for _, n := range []int64{0, 10, Kept} { // none of these counts
				if got, err := read(t, s, n); err != nil || !bytes.Equal(got, want[:min(int64(size), n)]) {
					t.Fatalf("%s of %d, the first %d: %d octets, %v", name, size, n, len(got), err)
				}
			}
			if got, err := read(t, s, -1); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s of %d: %d octets, %v", name, size, len(got), err)
			}
			for range 2 {
				got, err := read(t, s, -1)
				if size <= Kept && (err != nil || !bytes.Equal(got, want)) || size > Kept && !errors.Is(err, ErrUsed) {
					t.Fatalf("%s of %d, again: %d octets, %v", name, size, len(got), err)
				}
			}
			if again, err := s.Replayable(); err != nil || again != (size <= Kept) {
				t.Errorf("%s of %d is replayable: %v, %v", name, size, again, err)
			}
		}
	}
}

// One octet more than is kept, and it counts.
func TestAReadBeyondWhatIsKeptCounts(t *testing.T) {
	s := Reader(unseekable(bytes.NewReader(text(1 << 20))))
	if again, err := s.Replayable(); again || err != nil || s.Used() {
		t.Errorf("before: %v, %v, used %v", again, err, s.Used())
	}
	if got, err := read(t, s, Kept+2); len(got) != Kept+2 || err != nil {
		t.Errorf("%d octets, %v", len(got), err)
	}
	if _, err := read(t, s, 1); !errors.Is(err, ErrUsed) || !s.Used() {
		t.Errorf("after: %v, used %v", err, s.Used())
	}
}

func TestThereIsOneReaderAtATime(t *testing.T) {
	s := Reader(unseekable(strings.NewReader("small")))
	r, _, err := s.Open(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, -1); !errors.Is(err, ErrUsed) {
		t.Errorf("beside another: %v", err)
	}
	if _, err := s.Replayable(); !errors.Is(err, ErrUsed) {
		t.Errorf("beside another it cannot be told: %v", err)
	}
	r.Close()
	for range 2 {
		if got, err := read(t, s, -1); string(got) != "small" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	a, _, _ := s.Open(-1) // from now on as good as Bytes
	defer a.Close()
	if got, err := read(t, s, -1); string(got) != "small" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What has failed may have lost octets: it does not become a shorter content later.
func TestAReaderThatFailedIsNotReadOn(t *testing.T) {
	broken := errors.New("broken")
	s := Reader(&failsOnce{strings.NewReader("the beginning"), broken})
	for range 3 {
		if got, err := read(t, s, -1); !errors.Is(err, broken) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// Nor is one that panicked.
func TestAReaderThatPanickedIsNotReadOn(t *testing.T) {
	s := Reader(io.MultiReader(strings.NewReader("the beginning"), panicking{}))
	func() {
		defer func() { recover() }()
		read(t, s, -1)
	}()
	if got, err := read(t, s, -1); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("%q, %v", got, err)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("out of paper") }

type failsOnce struct {
	r   io.Reader
	err error
}

func (f *failsOnce) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF && f.err != nil {
		err, f.err = f.err, nil
	}
	return n, err
}

// Readers that can be read at any place are read from where they stood, by any number at the same time.
func TestReplayableReaders(t *testing.T) {
	want := text(1 << 20)
	name := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for kind, r := range map[string]io.ReadSeeker{
		"bytes.Reader": bytes.NewReader(want), "strings.Reader": strings.NewReader(string(want)),
		"io.SectionReader": io.NewSectionReader(bytes.NewReader(want), 0, int64(len(want))), "os.File": f,
	} {
		r.Seek(1000, io.SeekStart)
		s := Reader(r)
		r.Seek(0, io.SeekEnd)
		other, _, _ := s.Open(-1)
		for range 2 {
			if got, err := read(t, s, -1); err != nil || !bytes.Equal(got, want[1000:]) {
				t.Errorf("%s: %d octets, %v", kind, len(got), err)
			}
		}
		other.Close()
		if again, err := s.Replayable(); !again || err != nil {
			t.Errorf("%s: %v, %v", kind, again, err)
		}
	}
}

// Without a place to start from, or a size, it is a reader like any other.
func TestReadersThatCannotBeReadAgain(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		w.Write(text(Kept + 1000))
		w.Close()
	}()
	b := bytes.NewReader(text(Kept + 1000))
	for kind, r := range map[string]io.Reader{
		"a pipe":    r,
		"no Seek":   struct{ sizedAt }{b},
		"no ReadAt": struct{ io.ReadSeeker }{bytes.NewReader(text(Kept + 1000))},
		"cannot seek": struct {
			sizedAt
			brokenSeeker
		}{bytes.NewReader(text(Kept + 1000)), brokenSeeker{}},
	} {
		s := Reader(r)
		if got, err := read(t, s, -1); len(got) != Kept+1000 || err != nil {
			t.Errorf("%s: %d octets, %v", kind, len(got), err)
		}
		if _, err := read(t, s, -1); !errors.Is(err, ErrUsed) {
			t.Errorf("%s, again: %v", kind, err)
		}
	}
}

type sizedAt interface {
	io.Reader
	io.ReaderAt
	Size() int64
}

type brokenSeeker struct{}

func (brokenSeeker) Seek(int64, int) (int64, error) { return 0, errors.New("no") }

// A size that was promised is kept, or the reading fails; no reader gives less without an error, nor more.
func TestASizeThatWasPromised(t *testing.T) {
	for _, c := range []struct {
		promised int64
		has      string
		want     string // of the error
	}{
		{5, "12345", ""}, {0, "", ""}, {-1, "12345", ""}, {-7, "12345", ""},
		{5, "1234", "it ended after 4 octets of 5"}, {5, "", "it ended after 0 octets of 5"},
		{5, "123456", "it has more than 5 octets"}, {0, "1", "it has more than 0 octets"},
	} {
		s := Sized(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.has)), nil }, c.promised)
		got, err := read(t, s, -1)
		if c.want == "" && (err != nil || string(got) != c.has) || c.want != "" &&
			(err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d octets promised of %q: %q, %v", c.promised, c.has, got, err)
		}
	}
}

func TestAFileThatChanges(t *testing.T) {
	for what, change := range map[string]func(name string) error{
		"shrinks":    func(name string) error { return os.Truncate(name, 500) },
		"is emptied": func(name string) error { return os.Truncate(name, 0) },
		"grows":      func(name string) error { return appendTo(name, "more") },
	} {
		name := filepath.Join(t.TempDir(), "content")
		if err := os.WriteFile(name, text(100_000), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for kind, s := range map[string]*Source{"File": File(name), "Reader of it": Reader(f)} {
			if err := os.Truncate(name, 100_000); err != nil {
				t.Fatal(err)
			}
			r, size, err := s.Open(-1)
			if err != nil || size != 100_000 {
				t.Fatalf("%d, %v", size, err)
			}
			io.CopyN(io.Discard, r, 400)
			if err := change(name); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err == nil ||
				!strings.Contains(err.Error(), "the file changed while it was read") {
				t.Errorf("%s that %s: %d octets more, %v", kind, what, n, err)
			}
			r.Close()
			if _, _, err := s.Open(size); err == nil ||
				!strings.Contains(err.Error(), "the file changed while it was read: it has ") {
				t.Errorf("%s that %s, opened again: %v", kind, what, err)
			}
		}
	}
}

func appendTo(name, more string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(more)
	return err
}

func TestADirectoryIsNoContent(t *testing.T) {
	s := File(t.TempDir())
	for range 2 {
		if _, err := read(t, s, -1); err == nil || !strings.Contains(err.Error(), "directory") {
			t.Errorf("%v", err)
		}
	}
}

// A reader that is closed twice ends nothing but itself: there is still one reader of the source at a time.
func TestAReaderThatIsClosedTwiceEndsNoOther(t *testing.T) {
	want := text(1 << 20)
	s := Reader(unseekable(bytes.NewReader(want)))
	first, _, err := s.Open(-1)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, _, err := s.Open(-1)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if third, _, err := s.Open(-1); !errors.Is(err, ErrUsed) {
		t.Fatalf("a reader beside another one: %v, %v", third, err)
	}
	if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets, %v", len(got), err)
	}
}
