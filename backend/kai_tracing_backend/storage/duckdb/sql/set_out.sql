FROM /* of */ ANTI JOIN /* related */ USING (trace, id)
