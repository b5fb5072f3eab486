{{- /* What one value alone cannot show to be wrong; values.schema.json checks the rest. */ -}}
{{- define "checks" -}}
{{- if and (has "*" .Values.watchNamespaces) (gt (len .Values.watchNamespaces) 1) -}}
{{- fail "watchNamespaces: \"*\" already means all namespaces; leave out the others." -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not .Values.publicUrl) -}}
{{- fail "publicUrl: Ingress and HTTPRoute take their host from it; set it, for example to https://hooks.example.com." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name at least one Gateway, for example [{name: public, namespace: gateways}]." -}}
{{- end -}}
{{- if and .Values.edge.autoscaling.enabled (ne .Values.mode "distributed") -}}
{{- fail "edge.autoscaling: mode single has exactly one pod; set mode to distributed, or leave autoscaling off." -}}
{{- end -}}
{{- if gt (int .Values.edge.autoscaling.minReplicas) (int .Values.edge.autoscaling.maxReplicas) -}}
{{- fail "edge.autoscaling: minReplicas is larger than maxReplicas." -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not .Values.serviceMonitor.enabled) -}}
{{- fail "prometheusRule: the alerts read metrics that nothing collects; set serviceMonitor.enabled as well." -}}
{{- end -}}
{{- if and .Values.tls.certManager.issuerRef (not .Values.tls.certManager.enabled) -}}
{{- fail "tls.certManager.issuerRef: it is used only with tls.certManager.enabled; set that as well." -}}
{{- end -}}
{{- if and .Values.destinationCA.configMap .Values.destinationCA.secret -}}
{{- fail "destinationCA: configMap and secret are both set; leave one of them empty." -}}
{{- end -}}
{{- if regexMatch "^[0-9]" .Release.Name -}}
{{- fail (printf "The release is called %s: Services need a name that begins with a letter. Choose another name for the release." .Release.Name) -}}
{{- end -}}
{{- end -}}
