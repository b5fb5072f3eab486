{{- /* The certificates of a release: roles (joined by +) and the Secret each is kept in. */ -}}
{{- define "tls.identities" -}}
{{- $full := include "name.full" . -}}
operator: {{ $full }}-operator-tls
{{- if eq .Values.mode "single" }}
edge+ingest: {{ $full }}-tls
{{- else }}
edge: {{ $full }}-edge-tls
ingest: {{ $full }}-ingest-tls
{{- end }}
{{- end -}}
