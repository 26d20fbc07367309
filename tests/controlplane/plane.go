package main

// The running control plane: starting, health, stopping, one component at a
// time. Only the main goroutine uses it.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// startLimit is generous: two cores may be compiling at the same time.
const startLimit = 3 * time.Minute

type plane struct {
	dir, self string
	ports     ports
	node      node
	api       *http.Client // as administrator
	running   map[string]*component
}

// component is a started child; expected tells that its end was asked for.
type component struct {
	*child
	expected atomic.Bool
}

func newPlane(dir string, n node) (*plane, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	reserved, err := reservePorts()
	if err != nil {
		return nil, err
	}
	ca, admin, err := prepare(dir, reserved, n)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(admin.cert, admin.key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}},
		DisableKeepAlives: true, // a restarted server must not be met through an old connection
	}
	return &plane{
		dir: dir, self: self, ports: reserved, node: n, running: map[string]*component{},
		api: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}, nil
}

func (p *plane) alive(name string) bool {
	c, known := p.running[name]
	if !known {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// launch starts a component's process without waiting for anything.
func (p *plane) launch(name string) (*component, error) {
	if p.alive(name) {
		return nil, fmt.Errorf("%s is running already", name)
	}
	log, err := openLog(p.log(name))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	args := arguments(name, p.dir, p.ports, p.node)
	cmd := exec.Command(p.self, append([]string{name}, args...)...)
	if name == containerd {
		cmd = exec.Command(name, args...) // the machine's own
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	// Nothing of the caller's: no proxy may come between the components.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir,
		"KUBEBUILDER_ASSETS=" + os.Getenv("KUBEBUILDER_ASSETS"),
	}
	started, err := startChild(cmd)
	if err != nil {
		return nil, err
	}
	c := &component{child: started}
	p.running[name] = c
	go func() {
		<-c.done
		if !c.expected.Load() {
			fmt.Fprintf(os.Stderr, "controlplane: %s (pid %d) ended by itself: %v; the end of its log:\n%s\n",
				name, c.pid(), c.cmd.ProcessState, tail(p.log(name)))
		}
	}()
	return c, nil
}

// start launches a component and waits until it is healthy. One whose own
// dependency is down cannot become so: then ready is false at once.
func (p *plane) start(ctx context.Context, name string) (ready bool, err error) {
	c, err := p.launch(name)
	if err != nil {
		return false, err
	}
	switch name {
	case etcd:
		if err := p.await(ctx, c, url("http", p.ports.etcd)+"/health"); err != nil {
			return false, err
		}
		if server := p.running[apiServer]; p.alive(apiServer) {
			return true, p.await(ctx, server, p.server()+"/readyz")
		}
		return true, nil
	case apiServer:
		if !p.alive(etcd) {
			return false, nil
		}
		return true, p.await(ctx, c, p.server()+"/readyz")
	case containerd:
		return true, p.await(ctx, c, p.node.health(name))
	default:
		if !p.alive(apiServer) {
			return false, nil
		}
		if name == controllerManager {
			return true, p.await(ctx, c, url("https", p.ports.manager)+"/healthz")
		}
		return true, p.await(ctx, c, p.node.health(name))
	}
}

// await polls an address until it answers 200 while the component lives.
func (p *plane) await(ctx context.Context, c *component, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		last := p.get(ctx, address)
		if last == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.done:
			return fmt.Errorf("ended by itself: %v", c.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("not healthy: %w (%w)", last, ctx.Err())
		}
	}
}

// get wants an answer of 200, or of a socket that somebody listens on it.
func (p *plane) get(ctx context.Context, address string) error {
	if path, found := strings.CutPrefix(address, "unix://"); found {
		connection, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := p.api.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, response.Status)
	}
	return nil
}

// stop kills one component as a crash would.
func (p *plane) stop(name string) error {
	if !p.alive(name) {
		return fmt.Errorf("%s is not running", name)
	}
	p.running[name].expected.Store(true)
	return p.running[name].kill()
}

// stopAll kills the clients before what they talk to.
func (p *plane) stopAll() error {
	var all error
	for _, name := range slices.Backward(p.node.order()) {
		if p.alive(name) {
			all = errors.Join(all, p.stop(name))
		}
	}
	return all
}

func (p *plane) pids() map[string]int {
	pids := map[string]int{}
	for name := range p.running {
		if p.alive(name) {
			pids[name] = p.running[name].pid()
		}
	}
	return pids
}

func (p *plane) server() string { return url("https", p.ports.api) }

func (p *plane) log(name string) string { return filepath.Join(p.dir, name+".log") }
