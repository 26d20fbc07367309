package main

// guard keeps any process on a leash: it lives no longer than the guard, and
// the guard no longer than its stdin, which ends when the guard's owner does.

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func guard(args []string) (int, error) {
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
	logPath := flags.String("log", "", "append the command's stdout and stderr to this file")
	pidPath := flags.String("pid-file", "", "write the command's process id to this file")
	if err := flags.Parse(args); err != nil {
		return 2, nil // flag has told why
	}
	if flags.NArg() == 0 {
		return 2, fmt.Errorf("guard: no command\n%s", usage)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	cmd := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if *logPath != "" {
		log, err := openLog(*logPath)
		if err != nil {
			return 1, err
		}
		cmd.Stdout, cmd.Stderr = log, log
	}
	c, err := startChild(cmd)
	if err != nil {
		return 127, err
	}
	if *pidPath != "" {
		if err := os.WriteFile(*pidPath, fmt.Appendf(nil, "%d\n", c.pid()), 0o600); err != nil {
			return 1, err // leaving kills the child
		}
	}
	fmt.Printf("pid %d\n", c.pid())

	abandoned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(abandoned)
	}()
	select {
	case <-c.done:
		return c.code(), nil
	case <-abandoned:
	case <-interrupts:
	}
	if err := c.kill(); err != nil {
		return 1, err
	}
	return c.code(), nil
}
