package main

// Loopback ports that stay ours while a component is down.

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reservePort asks the kernel for a free loopback port and holds it until this
// process ends: bound but not listening, so clients are refused while the
// component is down, nobody else gets the port, and the component, which sets
// SO_REUSEPORT too, can listen on it as often as it is restarted.
func reservePort() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	address, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("reserve a port: unexpected address %v", name)
	}
	return address.Port, nil
}
