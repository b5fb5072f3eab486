//! Values that the chart must not take: each is refused, with a message that names the value.

use segment_source_tests::chart::{available, documents, render, render_as};

/// Values (YAML), and what the message must hold.
#[track_caller]
fn refuses(values: &str, said: &str) {
    let answer = render(values);
    assert!(!answer.success, "these were taken:\n{values}\n{}", answer.out);
    assert!(
        answer.err.contains(said),
        "`{said}` is not in the message to\n{values}\n{}",
        answer.err
    );
    assert!(answer.out.is_empty(), "{}", answer.out);
}

#[test]
fn values_of_the_wrong_form() {
    if !available() {
        return;
    }
    refuses("mode: foo", "/mode");
    refuses("mode: [single]", "/mode");
    refuses("mode: null", "missing property 'mode'");
    refuses("unknown: 1", "unknown");
    refuses("image: {name: x}", "/image");
    refuses("image: x", "/image");
    refuses("image: {repository: 'a b'}", "/image/repository");
    refuses("image: {repository: \"a\\nb\"}", "/image/repository");
    refuses("image: {repository: 'UPPER/case'}", "/image/repository");
    refuses("image: {repository: ''}", "/image/repository");
    refuses("image: {tag: 'a:b'}", "/image/tag");
    refuses("image: {tag: 1.5}", "/image/tag");
    refuses("image: {tag: \"1\\n\"}", "/image/tag");
    refuses("image: {digest: 'sha512:00'}", "/image/digest");
    refuses("image: {digest: 'sha256:XYZ'}", "/image/digest");
    refuses("image: {digest: 'abc'}", "/image/digest");
    refuses("image: {pullPolicy: Sometimes}", "/image/pullPolicy");
    refuses("image: {pullSecrets: ['a b']}", "/image/pullSecrets/0");
    refuses("image: {pullSecrets: reg}", "/image/pullSecrets");
    refuses("log: {filter: \"info\\n- --http=0.0.0.0:1\"}", "/log/filter");
    refuses("log: {filter: 'info\" x'}", "/log/filter");
    refuses("log: {format: xml}", "/log/format");
    refuses("listen: 127.0.0.1", "/listen");
    refuses("crds: {install: 'yes please'}", "/crds/install");
    refuses("crds: {keep: false}", "/crds");
    refuses("segment-source-crds: {anything: 1}", "anything");
}

#[test]
fn names_and_addresses_that_are_more_than_that() {
    if !available() {
        return;
    }
    refuses("publicUrl: ftp://x", "/publicUrl");
    refuses("publicUrl: 'https://x/path'", "/publicUrl");
    refuses("publicUrl: 'https://user:password@x'", "/publicUrl");
    refuses("publicUrl: \"https://x\\n            - --tls=/other\"", "/publicUrl");
    refuses("publicUrl: 'https://x\"'", "/publicUrl");
    refuses("publicUrl: 'https://{{ .Release.Name }}'", "/publicUrl");
    refuses("publicUrl: 'https://x #'", "/publicUrl");
    refuses("watchNamespaces: prod", "/watchNamespaces");
    refuses("watchNamespaces: [Prod]", "/watchNamespaces/0");
    refuses("watchNamespaces: ['a,b']", "/watchNamespaces/0");
    refuses("watchNamespaces: ['']", "/watchNamespaces/0");
    refuses("watchNamespaces: [\"a\\nb\"]", "/watchNamespaces/0");
    refuses("watchNamespaces: [a, a]", "/watchNamespaces");
    refuses("watchNamespaces: [a.b]", "/watchNamespaces/0");
    refuses("storage: {size: 10}", "/storage/size");
    refuses("storage: {size: -1Gi}", "/storage/size");
    refuses("storage: {size: 100Mi}", "/storage/size");
    refuses("storage: {className: \"a\\nb\"}", "/storage/className");
    refuses("serviceAccount: {name: '{a: b}'}", "/serviceAccount/name");
    refuses("priorityClassName: 'a: b'", "/priorityClassName");
    refuses("ingress: {className: 'a b'}", "/ingress/className");
    refuses("ingress: {tlsSecret: A}", "/ingress/tlsSecret");
    refuses("tls: {certManager: {enabled: true, issuerRef: {kind: Issuer}}}", "/issuerRef");
    refuses("tls: {certManager: {enabled: true, issuerRef: {name: \"a\\nb\"}}}", "/issuerRef/name");
    refuses("networkPolicy: {apiServer: {cidrs: [everywhere]}}", "/apiServer/cidrs/0");
    refuses("networkPolicy: {grpcFrom: [{}]}", "/grpcFrom/0");
    refuses("networkPolicy: {grpcFrom: [{podSelektor: {}}]}", "/grpcFrom/0");
    refuses("networkPolicy: {dnsPorts: []}", "/dnsPorts");
    refuses("allowDestinations: 10.0.0.0/8", "/allowDestinations");
    refuses("allowDestinations: [10.0.0.0/8, 10.0.0.0/8]", "/allowDestinations");
    refuses("allowDestinations: ['https://crm.example']", "/allowDestinations/0");
    refuses("allowDestinations: ['crm.example:8080']", "/allowDestinations/0");
    refuses("allowDestinations: ['*']", "/allowDestinations/0");
    refuses("allowDestinations: ['']", "/allowDestinations/0");
    refuses("allowDestinations: [\"a\\n- --http=0.0.0.0:1\"]", "/allowDestinations/0");
    refuses("allowDestinations: ['{{ .Release.Name }}']", "/allowDestinations/0");
    refuses("destinationCA: {configMap: 'a b'}", "/destinationCA/configMap");
    refuses("destinationCA: {secret: A}", "/destinationCA/secret");
    refuses("destinationCA: {key: 'a/b'}", "/destinationCA/key");
    refuses("destinationCA: {key: ''}", "/destinationCA/key");
    refuses("destinationCA: {name: a}", "/destinationCA");
    refuses("knockRates: {4: 200}", "/knockRates");
    refuses("knockRates: {3: 0}", "/knockRates/3");
    refuses("knockRates: {3: 1.5}", "/knockRates/3");
    refuses("knockRates: {3: '30'}", "/knockRates/3");
    refuses("knockRates: ['3=30']", "/knockRates");
    refuses("redis: {existingSecret: 'a b'}", "/redis/existingSecret");
    refuses("redis: {url: 'redis://a'}", "/redis");
    refuses("networkPolicy: {redis: {to: [10.0.0.5]}}", "/redis/to/0");
    refuses("networkPolicy: {redis: {ports: []}}", "/redis/ports");
    refuses("networkPolicy: {egress: [{}]}", "/egress/0");
    refuses("networkPolicy: {egress: [{from: []}]}", "/egress/0");
    refuses("networkPolicy: {egress: [{ports: [{port: 65536}]}]}", "/egress/0/ports/0/port");
    refuses("networkPolicy: {egress: [{ports: [{endPort: 90}]}]}", "/egress/0/ports/0");
    refuses("networkPolicy: {egress: [{to: [{ipBlock: {cidr: x}}]}]}", "/egress/0/to/0");
    refuses("serviceMonitor: {interval: often}", "/serviceMonitor/interval");
    refuses("podLabels: {'a b': c}", "invalid propertyName 'a b'");
    refuses("podLabels: {a: \"b\\nc\"}", "/podLabels/a");
    refuses("podAnnotations: {a: 1}", "/podAnnotations/a");
    refuses("nodeSelector: {disk: [ssd]}", "/nodeSelector/disk");
    refuses("tolerations: [{effect: Never}]", "/tolerations/0/effect");
    refuses("affinity: {anything: {}}", "/affinity");
    refuses("topologySpreadConstraints: [{maxSkew: 1}]", "/topologySpreadConstraints/0");
}

#[test]
fn numbers_out_of_bounds() {
    if !available() {
        return;
    }
    refuses("edge: {replicas: -1}", "/edge/replicas");
    refuses("edge: {replicas: 0}", "/edge/replicas");
    refuses("edge: {replicas: 1.5}", "/edge/replicas");
    refuses("edge: {replicas: '2'}", "/edge/replicas");
    refuses("edge: {replicas: 100000}", "/edge/replicas");
    refuses("ingest: {replicas: 0}", "/ingest/replicas");
    refuses("networkPolicy: {redis: {ports: [65536]}}", "/redis/ports/0");
    refuses("operator: {replicas: -1}", "/operator/replicas");
    refuses("operator: {replicas: 100}", "/operator/replicas");
    refuses("edge: {autoscaling: {targetCPUUtilization: 0}}", "/targetCPUUtilization");
    refuses("single: {resources: {limits: {memory: lots}}}", "/limits/memory");
    refuses("single: {resources: {limits: {memory: -1}}}", "/limits/memory");
    refuses("single: {resources: {claims: []}}", "/single/resources");
    refuses("networkPolicy: {apiServer: {ports: [0]}}", "/apiServer/ports/0");
    refuses("networkPolicy: {apiServer: {ports: [65536]}}", "/apiServer/ports/0");
}

#[test]
fn values_that_do_not_go_together() {
    if !available() {
        return;
    }
    refuses("watchNamespaces: ['*', prod]", "already means all namespaces");
    refuses("ingress: {enabled: true}", "publicUrl");
    refuses("httpRoute: {enabled: true, parentRefs: [{name: a}]}", "publicUrl");
    let url = "publicUrl: https://x.example";
    refuses(&format!("{url}\nhttpRoute: {{enabled: true}}"), "httpRoute.parentRefs");
    refuses("edge: {autoscaling: {enabled: true}}", "edge.autoscaling");
    refuses(
        "mode: distributed\nedge: {autoscaling: {enabled: true, minReplicas: 11}}",
        "minReplicas is larger",
    );
    refuses("prometheusRule: {enabled: true}", "serviceMonitor.enabled");
    refuses("destinationCA: {configMap: a, secret: b}", "leave one of them empty");
    refuses("tls: {certManager: {issuerRef: {name: ca}}}", "tls.certManager.enabled");
    let answer = render_as("1st", "prod", "");
    assert!(answer.err.contains("begins with a letter"), "{}", answer.err);
}

/// What must not be refused by mistake.
#[test]
fn unusual_values_that_are_right() {
    if !available() {
        return;
    }
    for values in [
        "publicUrl: http://localhost:8080",
        "image: {repository: 'registry:5000/a/b_c/d.e-f', tag: v1.0_x}",
        "single: {resources: {limits: {cpu: 2, memory: 1.5Gi}}}",
        "single: {resources: {}}",
        "watchNamespaces: ['1', a-b]",
        "global: {anything: true}",
        "podAnnotations: {example.com/a: \"x: {y}\\n- z\"}",
        "tls: {certManager: {enabled: true, issuerRef: {name: ca, kind: ClusterIssuer}}}",
        "serviceAccount: {create: false}",
        "allowDestinations: [localhost, 127.0.0.1, '::1', 'fd00::/8', 10.0.0.0/8, a-b.c1]",
        "destinationCA: {secret: company.ca, key: tls.crt}",
        "knockRates: {2: 1, 3: 60, 5: 100000}",
        "redis: {existingSecret: my.redis}\ningest: {replicas: 1000}",
        "networkPolicy: {redis: {to: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.5/32}}], ports: [1]}}",
        "networkPolicy: {egress: [{ports: [{port: https}]}, {to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}",
    ] {
        assert!(documents(values).len() > 10, "{values}");
    }
}
