package main

// A node beside the control plane: containerd, kubelet, scheduler and proxy, in
// namespaces that the caller made for it. They listen on fixed ports and write
// to /run, /var/lib and /var/log, so they must never be started elsewhere: see
// the harness's node module, which makes those namespaces.

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	containerd = "containerd"
	scheduler  = "kube-scheduler"
	kubeProxy  = "kube-proxy"
	kubelet    = "kubelet"

	nodeName = "node"
	podRange = "10.88.0.0/16"
	socket   = "/run/containerd/containerd.sock"
)

// nodeOrder follows startOrder: the proxy asks for the node that the kubelet
// registers.
var nodeOrder = []string{containerd, scheduler, kubelet, kubeProxy}

// node says where the node is and which cgroup it may use; none without one.
type node struct{ address, cgroup string }

func (n node) order() []string {
	if n.address == "" {
		return startOrder
	}
	return append(append([]string{}, startOrder...), nodeOrder...)
}

// apiServer gives the flags that differ once pods run: reachable from them,
// reaching the kubelet, and mounting tokens into them.
func (n node) apiServer(file func(string) string) []string {
	if n.address == "" {
		return []string{
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
			// Pods never run here, so nothing needs a token mounted into them.
			"--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		}
	}
	return []string{
		"--bind-address=0.0.0.0", "--advertise-address=" + n.address,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-client-certificate=" + file("admin.crt"), "--kubelet-client-key=" + file("admin.key"),
		"--kubelet-certificate-authority=" + file("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
	}
}

func (n node) controllers() string {
	if n.address == "" {
		return controllers
	}
	return "*"
}

// arguments gives a node component's command line.
func (n node) arguments(name string, file func(string) string) []string {
	switch name {
	case containerd:
		return []string{"--config=" + file("containerd.toml")}
	case scheduler:
		return []string{
			"--kubeconfig=" + file("controller-manager.kubeconfig"), "--leader-elect=false",
			"--bind-address=127.0.0.1", "--secure-port=10259",
			"--tls-cert-file=" + file("server.crt"), "--tls-private-key-file=" + file("server.key"),
		}
	case kubeProxy:
		return []string{"--config=" + file("kube-proxy.yaml")}
	default:
		return []string{
			"--config=" + file("kubelet.yaml"), "--kubeconfig=" + file("kubelet.kubeconfig"),
			"--hostname-override=" + nodeName, "--node-ip=" + n.address,
		}
	}
}

// health is the address that answers 200 when a node component works.
func (n node) health(name string) string {
	switch name {
	case containerd:
		return "unix://" + socket
	case scheduler:
		return url("https", 10259) + "/healthz"
	case kubeProxy:
		return url("http", 10256) + "/healthz"
	default:
		return url("http", 10248) + "/healthz"
	}
}

// prepare writes the node's configuration; nothing of it without a node.
func (n node) prepare(dir string, authority *authority, admin pair, api string) error {
	if n.address == "" {
		return nil
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	client, err := authority.clientOf("system:node:"+nodeName, "system:nodes")
	if err != nil {
		return err
	}
	if err := writeKubeconfig(file("kubelet.kubeconfig"), api, authority.pem, nodeName, client); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"admin.crt":       string(admin.cert),
		"admin.key":       string(admin.key),
		"containerd.toml": fmt.Sprintf(containerdConfig, socket, dir),
		"kubelet.yaml": fmt.Sprintf(kubeletConfig, n.address, file("server.crt"), file("server.key"),
			file("ca.crt"), socket, n.cgroup),
		"kube-proxy.yaml":      fmt.Sprintf(proxyConfig, file("controller-manager.kubeconfig"), n.address, nodeName, podRange),
		"cni/10-node.conflist": fmt.Sprintf(cniConfig, podRange),
	} {
		if err := os.MkdirAll(filepath.Dir(file(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// restrict_oom_score_adj: without it runc dies where the score may not be
// lowered. The pause image is imported by whoever starts pods.
const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = %q
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "%s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
`

// No eviction and no image collection: the disk is the developer's, and how
// full it is says nothing about this node.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
tlsCertFile: %s
tlsPrivateKeyFile: %s
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://%s
cgroupRoot: /%s
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
maxOpenFiles: 20000
resolvConf: ""
volumePluginDir: /var/lib/kubelet/volumeplugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s}
bindAddress: %s
hostnameOverride: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
mode: nftables
detectLocalMode: ClusterCIDR
clusterCIDR: %s
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// Point to point: pods reach each other through the node's own routing, so no
// bridge filter is needed for Services.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "node",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "dataDir": "/run/cni",
      "ranges": [[{"subnet": "%s"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`
