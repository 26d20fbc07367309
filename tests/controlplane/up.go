package main

// up is the supervisor's outside: the ready line, then one answer per command
// line on stdin, all JSON, until stdin ends or a signal comes.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// answer is one line on stdout.
type answer struct {
	OK        bool   `json:"ok"`
	Component string `json:"component,omitempty"`
	Pid       int    `json:"pid,omitempty"`
	Ready     bool   `json:"ready"`
	Error     string `json:"error,omitempty"`
}

func up(args []string) (code int, err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for data, certificates, logs and kubeconfig; new or empty")
	var n node
	flags.StringVar(&n.address, "node", "", "run pods too, on a node with this address, in namespaces of its own")
	flags.StringVar(&n.cgroup, "node-cgroup", "", "the cgroup that the node's pods are in; it exists")
	remove := flags.Bool("rm", false, "remove the folder at the end")
	if flags.Parse(args) != nil {
		return 2, nil // flag has told why
	}
	if *dir == "" || flags.NArg() > 0 {
		return 2, fmt.Errorf("up: --dir is needed\n%s", usage)
	}
	folder, err := emptyFolder(*dir)
	if err != nil {
		return 1, err
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	// One reader for the whole life, so that the end of stdin is noticed while
	// a component is still starting.
	commands := make(chan string, 64)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			commands <- lines.Text()
		}
		cancel()
	}()

	p, err := newPlane(folder, n)
	if err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, p.stopAll())
		if *remove {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	if err := p.bring(ctx); err != nil {
		if ctx.Err() != nil {
			return 0, nil // asked to end before it was up
		}
		return 1, err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(p.ready()); err != nil {
		return 1, err
	}
	for {
		select {
		case <-ctx.Done():
			return 0, nil
		case line := <-commands:
			if err := out.Encode(p.obey(ctx, line)); err != nil {
				return 1, err
			}
		}
	}
}

// emptyFolder makes the folder if need be and insists that it is empty: its
// content is deleted later.
func emptyFolder(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty", path)
	}
	return path, err
}

// bring starts everything and waits until a ServiceAccount is there, which is
// when a client can begin to work.
func (p *plane) bring(ctx context.Context) error {
	for _, name := range p.node.order() {
		if _, err := p.start(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	const account = "/api/v1/namespaces/default/serviceaccounts/default"
	return p.await(ctx, p.running[controllerManager], p.server()+account)
}

func (p *plane) ready() map[string]any {
	file := func(name string) string { return filepath.Join(p.dir, name) }
	return map[string]any{
		"ready":      true,
		"server":     p.server(),
		"kubeconfig": file("admin.kubeconfig"),
		"ca":         file("ca.crt"),
		"etcdDir":    file("etcd"),
		"auditLog":   file("audit.log"),
		"pids":       p.pids(),
	}
}

// obey runs one command: `stop NAME` or `start NAME`.
func (p *plane) obey(ctx context.Context, line string) answer {
	verb, name, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !slices.Contains(p.node.order(), name) || (verb != "stop" && verb != "start") {
		return answer{Error: fmt.Sprintf("not a command: %q", line)}
	}
	a := answer{Component: name}
	var err error
	if verb == "start" {
		a.Ready, err = p.start(ctx, name)
	} else {
		err = p.stop(name)
	}
	if a.OK = err == nil; err != nil {
		a.Ready, a.Error = false, err.Error()
	}
	a.Pid = p.pids()[name]
	return a
}
