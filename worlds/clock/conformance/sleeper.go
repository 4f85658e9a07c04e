// Waits of a Go program, each for a known time. One line per case: name, expected, elapsed, really elapsed (seconds).
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

func really() float64 {
	var seconds float64
	text, _ := os.ReadFile("/proc/uptime")
	fmt.Sscanf(string(text), "%f", &seconds)
	return seconds
}

func measure(name string, expected float64, body func()) {
	real, start := really(), time.Now()
	body()
	elapsed := time.Since(start).Seconds()
	fmt.Printf("%s %.3f %.6f %.3f\n", name, expected, elapsed, really()-real)
}

func main() {
	measure("Sleep", 10, func() { time.Sleep(10 * time.Second) })
	measure("After", 3600, func() { <-time.After(time.Hour) })
	measure("Ticker", 100, func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for i := 0; i < 100; i++ {
			<-ticker.C
		}
	})
	measure("context", 45, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
		defer cancel()
		<-ctx.Done()
	})
	measure("goroutines", 1140, func() {
		var group sync.WaitGroup
		for i := 0; i < 20; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				time.Sleep(time.Duration(i) * time.Minute)
			}()
		}
		group.Wait()
	})
	measure("read-deadline", 30, func() {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println("listen-failed 0 1 0")
			return
		}
		defer listener.Close()
		client, _ := net.Dial("tcp", listener.Addr().String())
		server, _ := listener.Accept()
		defer client.Close()
		defer server.Close()
		client.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := client.Read(make([]byte, 1)); !os.IsTimeout(err) {
			fmt.Println("read-not-timed-out 0 1 0")
		}
	})
	measure("command", 20, func() {
		if err := exec.Command("sleep", "20").Run(); err != nil {
			fmt.Println("command-failed 0 1 0")
		}
	})
	measure("command-killed", 15, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := exec.CommandContext(ctx, "sleep", "600").Run(); err == nil {
			fmt.Println("command-not-killed 0 1 0")
		}
	})
	path, _ := os.Executable()
	if strings.Contains(path, "clove-start") {
		fmt.Println("executable-wrong 0 1 0")
	}
}
