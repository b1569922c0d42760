package seats

import (
	"testing"
	"time"
)

func TestThrottleSample(t *testing.T) {
	start := time.Now()
	var s throttleSample
	for range 8 * sampleSize { // greylisting of half of them
		if s.count(true, start) || s.count(false, start) {
			t.Fatal("half of the recipients is no throttling")
		}
	}
	heard := 0
	for range sampleSize {
		if s.count(true, start) {
			heard++
		}
	}
	if heard != 1 {
		t.Errorf("%d replies counted; the last of the sample is the first", heard)
	}
	if s.count(false, start) || !s.count(true, start.Add(sampleValid-1)) || s.count(true, start.Add(sampleValid)) {
		t.Error("each throttle reply counts for a minute, and no other")
	}
}

func TestWhatReplies(t *testing.T) {
	for _, c := range []struct {
		reply                Reply
		less, slower, server bool
	}{
		{Reply{421, [3]int{}}, true, false, false},
		{Reply{421, [3]int{4, 4, 2}}, false, false, false}, // a time limit: this connection only
		{Reply{451, [3]int{4, 3, 2}}, true, false, true},
		{Reply{451, [3]int{4, 4, 5}}, true, false, true},
		{Reply{452, [3]int{4, 3, 1}}, true, false, false},
		{Reply{450, [3]int{4, 7, 1}}, true, true, false},
		{Reply{454, [3]int{}}, true, true, false},
		{Reply{550, [3]int{5, 7, 1}}, false, false, false},
		{Reply{450, [3]int{4, 2, 1}}, false, false, false},
		{Reply{}, false, false, false},
	} {
		less, slower, server := c.reply.AsksForLess(), c.reply.AsksForSlower(), c.reply.AboutServer()
		if less != c.less || slower != c.slower || server != c.server {
			t.Errorf("%v: less %v, slower %v, about the server %v", c.reply, less, slower, server)
		}
	}
}
