{{- define "tenant-kms-operator.env" -}}
{{- with .Values.proxy.https }}
- { name: HTTPS_PROXY, value: {{ . | quote }} }
{{- end }}
{{- with .Values.proxy.http }}
- { name: HTTP_PROXY, value: {{ . | quote }} }
{{- end }}
{{- with .Values.proxy.noProxy }}
- { name: NO_PROXY, value: {{ . | quote }} }
{{- end }}
{{- if .Values.caBundle.configMapName }}
- { name: SSL_CERT_FILE, value: {{ printf "/etc/tenant-kms/ca/%s" .Values.caBundle.key | quote }} }
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
