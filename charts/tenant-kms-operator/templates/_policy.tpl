{{/* Puts a ValidatingAdmissionPolicy into force: (list . NAME). */}}
{{- define "tenant-kms-operator.policyBinding" -}}
{{- $name := index . 1 -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "tenant-kms-operator.labels" (index . 0) | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}
